package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"gvisor.dev/gvisor/pkg/seccomp/precompiledseccomp"
	sandboxfilter "gvisor.dev/gvisor/runsc/boot/filter/config"
	goferfilter "gvisor.dev/gvisor/runsc/fsgofer/filter/config"
)

// Options that Forkyard never switches on; their programs would only make the binary larger.
var unused = []string{"NVProxy=true", "TPUProxy=true", "RDMAProxy=true", "HostNetwork=true"}

// precompileSeccomp fills the tables of seccomp programs (`filter_precompiled.go`), which are empty in the module.
func precompileSeccomp(module string) error {
	for pkg, list := range map[string]func() ([]precompiledseccomp.Program, error){
		"runsc/boot/filter":    sandboxfilter.PrecompiledPrograms,
		"runsc/fsgofer/filter": goferfilter.PrecompiledPrograms,
	} {
		programs, err := list()
		if err != nil {
			return fmt.Errorf("compiling the programs of %s: %w", pkg, err)
		}
		file := filepath.Join(module, pkg, "filter_precompiled.go")
		if err := rewrite(file, func(source string) (string, error) { return withPrograms(source, programs) }); err != nil {
			return err
		}
	}
	return nil
}

// withPrograms fills the empty table in gVisor's source.
func withPrograms(source string, programs []precompiledseccomp.Program) (string, error) {
	const empty = "programs := make(map[string]precompiledseccomp.Program)\n"
	if strings.Count(source, empty) != 1 {
		return "", fmt.Errorf("the table of programs is not where it was expected")
	}
	var table strings.Builder
	table.WriteString(empty)
	for _, program := range programs {
		if !wanted(program.Name) {
			continue
		}
		fmt.Fprintf(&table, "\tprograms[%q] = %s\n", program.Name, program.Expr("\t", "precompiledseccomp"))
	}
	source = strings.Replace(source, "PrecompilationDisabledAtBuildTime = true", "PrecompilationDisabledAtBuildTime = false", 1)
	return strings.Replace(source, empty, table.String(), 1), nil
}

func wanted(name string) bool {
	for _, option := range unused {
		if strings.Contains(name, option) {
			return false
		}
	}
	return true
}
