// Command precompile does for a plain `go build` of runsc what gVisor's own release build does: it compiles the seccomp
// programs of sandbox and gofer ahead, which otherwise costs each sandbox start about 12 ms of CPU.
//
// It writes the two generated Go files and an overlay description for `go build -overlay` to the directory given as its only
// argument. `-overlay` replaces gVisor's empty tables (`filter_precompiled.go`) without changing the module itself.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"gvisor.dev/gvisor/pkg/seccomp/precompiledseccomp"
	sandboxfilter "gvisor.dev/gvisor/runsc/boot/filter/config"
	goferfilter "gvisor.dev/gvisor/runsc/fsgofer/filter/config"
)

// Options that Forkyard never switches on; their programs would only make the binary larger.
var unused = []string{"NVProxy=true", "TPUProxy=true", "RDMAProxy=true", "HostNetwork=true"}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: precompile DIRECTORY")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(dir string) error {
	out, err := exec.Command("go", "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", "gvisor.dev/gvisor").Output()
	if err != nil {
		return fmt.Errorf("finding the gvisor module: %w", err)
	}
	module := strings.TrimSpace(string(out))
	overlay := map[string]string{}
	for pkg, list := range map[string]func() ([]precompiledseccomp.Program, error){
		"runsc/boot/filter":    sandboxfilter.PrecompiledPrograms,
		"runsc/fsgofer/filter": goferfilter.PrecompiledPrograms,
	} {
		programs, err := list()
		if err != nil {
			return fmt.Errorf("compiling the programs of %s: %w", pkg, err)
		}
		original := filepath.Join(module, pkg, "filter_precompiled.go")
		source, err := os.ReadFile(original)
		if err != nil {
			return err
		}
		replacement, err := withPrograms(string(source), programs)
		if err != nil {
			return fmt.Errorf("%s: %w", original, err)
		}
		target := filepath.Join(dir, strings.ReplaceAll(pkg, "/", "_")+".go")
		if err := os.WriteFile(target, []byte(replacement), 0o644); err != nil {
			return err
		}
		overlay[original] = target
	}
	description, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "overlay.json"), description, 0o644)
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
