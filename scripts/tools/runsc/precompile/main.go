// Command precompile does for a plain `go build` of runsc what gVisor's own release build does: it compiles the seccomp
// programs of sandbox and gofer ahead, which otherwise costs each sandbox start about 12 ms of CPU.
//
// It copies the gVisor module to the directory given as its only argument, fills the empty tables (`filter_precompiled.go`)
// there, and writes a `go.mod` and `go.sum` for `go build -modfile` that take gVisor from the copy. (`go build -overlay` would
// need no copy, but refuses files of the module cache.)
package main

import (
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
	module := filepath.Join(dir, "gvisor")
	if err := os.CopyFS(module, os.DirFS(strings.TrimSpace(string(out)))); err != nil {
		return fmt.Errorf("copying the gvisor module: %w", err)
	}
	for pkg, list := range map[string]func() ([]precompiledseccomp.Program, error){
		"runsc/boot/filter":    sandboxfilter.PrecompiledPrograms,
		"runsc/fsgofer/filter": goferfilter.PrecompiledPrograms,
	} {
		programs, err := list()
		if err != nil {
			return fmt.Errorf("compiling the programs of %s: %w", pkg, err)
		}
		if err := fillTable(filepath.Join(module, pkg, "filter_precompiled.go"), programs); err != nil {
			return err
		}
	}
	return writeModFiles(dir, module)
}

func fillTable(file string, programs []precompiledseccomp.Program) error {
	source, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	filled, err := withPrograms(string(source), programs)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	// Files of the module cache may be read-only, and so their copies.
	if err := os.Remove(file); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(filled), 0o644)
}

func writeModFiles(dir, module string) error {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		return err
	}
	replaced := fmt.Sprintf("%s\nreplace gvisor.dev/gvisor => %q\n", mod, module)
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(replaced), 0o644); err != nil {
		return err
	}
	sum, err := os.ReadFile("go.sum")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "go.sum"), sum, 0o644)
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
