package main

// What calls `added/pkg/sentry/kernel/map_ahead.go`: restored processes find their memory mapped. Where pages are still being read
// after the start, mapping them would wait for all of them.
var restoreEdits = []edit{
	{
		file: "runsc/boot/restore.go",
		old:  "\tr.timer.Reached(\"Starting sandbox\")\n",
		new: "\tif !r.background {\n\t\tl.k.MapAhead(ctx)\n\t\tr.timer.Reached(\"Memory mapped\")\n\t}\n\n" +
			"\tr.timer.Reached(\"Starting sandbox\")\n",
	},
}
