package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// edit replaces a piece of gVisor's source that must be there once.
type edit struct {
	file, old, new string
}

// What calls `added/pkg/sentry/mm/fork_faults.go`.
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

// cheapenForks makes a process that is forked again and again cheap to fork: its children are given ahead what earlier ones
// faulted in, and have copies of little else.
func cheapenForks(module string) error {
	if err := os.CopyFS(module, os.DirFS("added")); err != nil {
		return fmt.Errorf("adding files to the gvisor module: %w", err)
	}
	for _, edit := range forkEdits {
		err := rewrite(filepath.Join(module, edit.file), func(source string) (string, error) {
			if strings.Count(source, edit.old) != 1 {
				return "", fmt.Errorf("what is to be replaced is not where it was expected:\n%s", edit.old)
			}
			return strings.Replace(source, edit.old, edit.new, 1), nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
