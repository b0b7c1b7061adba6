package main

var restoreEdits = []edit{
	{
		// Calls `added/pkg/sentry/kernel/map_ahead.go`: restored processes find their memory mapped. Where pages are still being read
		// after the start, mapping them would wait for all of them.
		file: "runsc/boot/restore.go",
		old:  "\tr.timer.Reached(\"Starting sandbox\")\n",
		new: "\tif !r.background {\n\t\tl.k.MapAhead(ctx)\n\t\tr.timer.Reached(\"Memory mapped\")\n\t}\n\n" +
			"\tr.timer.Reached(\"Starting sandbox\")\n",
	},
	{
		// Each read that waits for its turn holds a thread. Pages lie in the host's cache, and a few CPUs do not copy more of them
		// at a time.
		file: "pkg/sentry/state/stateio/pagesfile.go",
		old:  "\tpagesFileFDDefaultMaxParallel = 128\n",
		new:  "\tpagesFileFDDefaultMaxParallel = 4\n",
	},
}
