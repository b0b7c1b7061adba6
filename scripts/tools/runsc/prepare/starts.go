package main

// What calls `added/runsc/cmd/sandboxsetup`: a sandbox whose kernel is nobody starts gVisor's program once, not three times.
var startEdits = []edit{
	{
		file: "runsc/cmd/sentry/sentrycmd/boot.go",
		old:  "\tif !b.applyCaps {\n\t\treturn true // No caps to change but will change UID/GID to `nobody`.\n\t}\n",
		new:  "",
	},
	{
		file: "runsc/cmd/sentry/sentrycmd/boot.go",
		old: "\t\t\tcmd, w := sandboxsetup.ExecProcUmounter()\n" +
			"\t\t\tif b.willReexec() {\n" +
			"\t\t\t\tdefer cmd.Wait()\n" +
			"\t\t\t\tdefer w.Close()\n" +
			"\t\t\t} else {\n",
		new: "\t\t\tvar w *os.File\n" +
			"\t\t\tif b.willReexec() {\n" +
			"\t\t\t\tvar cmd *exec.Cmd\n" +
			"\t\t\t\tcmd, w = sandboxsetup.ExecProcUmounter()\n" +
			"\t\t\t\tdefer cmd.Wait()\n" +
			"\t\t\t\tdefer w.Close()\n" +
			"\t\t\t} else {\n" +
			"\t\t\t\tw = sandboxsetup.ForkProcUmounter()\n" +
			"\t\t\t\ttimer.Reached(\"umounter forked\")\n",
	},
	{
		file: "runsc/cmd/sentry/sentrycmd/boot.go",
		old:  "\t\t\tif !b.applyCaps {\n\t\t\t\t// Remove the args",
		new: "\t\t\tif !b.applyCaps && !b.willReexec() {\n" +
			"\t\t\t\tif err := sandboxsetup.BecomeNobody(timer); err != nil {\n" +
			"\t\t\t\t\tutil.Fatalf(\"becoming nobody: %v\", err)\n" +
			"\t\t\t\t}\n" +
			"\t\t\t\ttimer.Reached(\"nobody\")\n" +
			"\t\t\t\tif b.attached {\n" +
			"\t\t\t\t\t// A change of user takes it away.\n" +
			"\t\t\t\t\tif err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {\n" +
			"\t\t\t\t\t\tutil.Fatalf(\"error setting parent death signal: %v\", err)\n" +
			"\t\t\t\t\t}\n" +
			"\t\t\t\t}\n" +
			"\t\t\t} else if !b.applyCaps {\n\t\t\t\t// Remove the args",
	},
	{
		file: "runsc/cmd/sentry/sentrycmd/boot.go",
		old:  "\t\"os\"\n\t\"path/filepath\"\n",
		new:  "\t\"os\"\n\t\"os/exec\"\n\t\"path/filepath\"\n",
	},
	{
		// The bounding set says what a program may gain by its start. With this no program gains anything, and it is one stop of all
		// threads; to take the capabilities out of the set one by one is forty, in gofer and sandbox each.
		file: "runsc/cmd/sandboxsetup/caps_unsafe.go",
		old: "\tif r.haveSetPCap {\n" +
			"\t\tfor c := capability.Cap(0); c <= r.lastCap; c++ {\n" +
			"\t\t\tif r.bounding&(uint64(1)<<uint(c)) != 0 {\n" +
			"\t\t\t\tcontinue\n" +
			"\t\t\t}\n" +
			"\t\t\tif err := allThreadsPrctl(unix.PR_CAPBSET_DROP, uintptr(c), 0); err != nil {\n" +
			"\t\t\t\treturn fmt.Errorf(\"dropping bounding capability %v on all threads: %w\", c, err)\n" +
			"\t\t\t}\n" +
			"\t\t}\n" +
			"\t}\n",
		new: "\tif err := allThreadsPrctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {\n" +
			"\t\treturn fmt.Errorf(\"giving up new privileges on all threads: %w\", err)\n" +
			"\t}\n",
	},
	{
		// A thousand points in maps, which only who configures a trace session looks up.
		file: "runsc/boot/loader.go",
		old:  "\t// Initialize seccheck points.\n\tseccheck.Initialize()\n\targs.StartupTimer.Reached(\"seccheck initialized\")\n\n",
		new:  "",
	},
	{
		file: "pkg/sentry/seccheck/config.go",
		old:  "\tif desc, ok := Points[name]; ok {\n",
		new:  "\tInitialize()\n\tif desc, ok := Points[name]; ok {\n",
	},
}
