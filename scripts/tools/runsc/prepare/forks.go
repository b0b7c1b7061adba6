package main

// What calls `added/pkg/sentry/mm/fork_faults.go`: a process that is forked again and again becomes cheap to fork, since its children
// are given ahead what earlier ones faulted in, and have copies of little else.
var forkEdits = []edit{
	{
		file: "pkg/sentry/mm/mm.go",
		old:  "\thaveASIO bool `state:\"nosave\"`\n",
		new: "\thaveASIO bool `state:\"nosave\"`\n\n" +
			"\t// children is what the children forked from mm fault in; nil before the\n" +
			"\t// first one. It is protected by activeMu.\n" +
			"\tchildren *forkFaults `state:\"nosave\"`\n\n" +
			"\t// sibling is mm among its parent's children; nil if it is none. It is\n" +
			"\t// immutable.\n" +
			"\tsibling *sibling `state:\"nosave\"`\n",
	},
	{
		file: "pkg/sentry/mm/lifecycle.go",
		old:  "\tdefer mm2.activeMu.NestedUnlock(activeLockForked)\n",
		new: "\tdefer mm2.activeMu.NestedUnlock(activeLockForked)\n" +
			"\tif mm.children == nil {\n" +
			"\t\tmm.children = newForkFaults()\n" +
			"\t}\n" +
			"\tmm2.sibling = mm.children.newSibling()\n",
	},
	{
		file: "pkg/sentry/kernel/task_image.go",
		old:  "\t\tnewImage.MemoryManager = newMM\n",
		new:  "\t\tnewMM.FaultAhead(ctx)\n\t\tnewImage.MemoryManager = newMM\n",
	},
	{
		// It copied as much as a huge page. A forked child that goes on with its parent's program writes few pages in many
		// places, and had copies of nearly everything in the end.
		file: "pkg/sentry/mm/pma.go",
		old:  "copyAR = pseg.Range().Intersect(hugeMaskAR)\n",
		new: "copyAR = pseg.Range().Intersect(mm.sibling.copyRange(ar))\n" +
			"\t\t\t\t\t\tmm.sibling.record(ar, true /* write */)\n",
	},
	{
		file: "pkg/sentry/mm/syscalls.go",
		old: "\terr = mm.mapASLocked(ctx, pseg, ar, memmap.PlatformEffectDefault)\n\tmm.activeMu.RUnlock()\n\treturn err\n}\n\n" +
			"// MMap establishes a memory mapping.\n",
		new: "\terr = mm.mapASLocked(ctx, pseg, ar, memmap.PlatformEffectDefault)\n\tmm.activeMu.RUnlock()\n" +
			"\tmm.sibling.record(ar, false /* write */)\n\treturn err\n}\n\n" +
			"// MMap establishes a memory mapping.\n",
	},
}
