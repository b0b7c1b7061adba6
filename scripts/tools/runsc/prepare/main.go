// Command prepare makes the gVisor that Forkyard runs from the module that `go.mod` pins:
//
//   - It does what gVisor's own release build does and a plain `go build` does not: it compiles the seccomp programs of sandbox
//     and gofer ahead, which otherwise costs each sandbox start about 12 ms of CPU (seccomp.go).
//   - It makes forks and restores cheap (edits.go, docs/decisions/0034).
//
// It copies the module to the directory given as its only argument, changes the copy, and writes a `go.mod` and `go.sum` for
// `go build -modfile` that take gVisor from there. (`go build -overlay` would need no copy, but refuses files of the module cache.)
package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: prepare DIRECTORY")
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
	for _, change := range []func(module string) error{precompileSeccomp, changeMemory} {
		if err := change(module); err != nil {
			return err
		}
	}
	return writeModFiles(dir, module)
}

func rewrite(file string, change func(source string) (string, error)) error {
	source, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	changed, err := change(string(source))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	// Files of the module cache may be read-only, and so their copies.
	if err := os.Remove(file); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(changed), 0o644)
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
