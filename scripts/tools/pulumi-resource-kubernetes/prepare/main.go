// Command prepare does for the provider's module what its release build does and a plain `go build` does not: it writes the two files
// that the provider embeds. It copies the module to the directory given as its only argument, adds them, and writes a `go.mod` and
// `go.sum` for `go build -modfile` that take the provider from there.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
)

const (
	provider = "github.com/pulumi/pulumi-kubernetes/provider/v4"
	// Of the npm package that asks for the provider.
	version = "4.22.1"
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
	out, err := exec.Command("go", "mod", "download", "-json", provider).Output()
	if err != nil {
		return fmt.Errorf("downloading the provider's module: %w", err)
	}
	var downloaded struct{ Dir string }
	if err := json.Unmarshal(out, &downloaded); err != nil {
		return err
	}
	module := filepath.Join(dir, "provider")
	if err := os.CopyFS(module, os.DirFS(downloaded.Dir)); err != nil {
		return fmt.Errorf("copying the provider's module: %w", err)
	}
	command := filepath.Join(module, "cmd", "pulumi-resource-kubernetes")
	if err := embed(command, "schema", map[string]any{"version": version}); err != nil {
		return err
	}
	if err := embed(command, "terraform-mapping", nil); err != nil {
		return err
	}
	return writeModFiles(dir, module)
}

// embed writes `<name>-embed.json` beside `<name>.json`.
func embed(dir, name string, extra map[string]any) error {
	text, err := os.ReadFile(filepath.Join(dir, name+".json"))
	if err != nil {
		return err
	}
	var value map[string]any
	if err := json.Unmarshal(text, &value); err != nil {
		return fmt.Errorf("%s.json: %w", name, err)
	}
	for key, add := range extra {
		value[key] = add
	}
	text, err = json.Marshal(value)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+"-embed.json"), text, 0o644)
}

func writeModFiles(dir, module string) error {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		return err
	}
	replaced := fmt.Sprintf("%s\nreplace %s => %q\n", mod, provider, module)
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(replaced), 0o644); err != nil {
		return err
	}
	sum, err := os.ReadFile("go.sum")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "go.sum"), sum, 0o644)
}
