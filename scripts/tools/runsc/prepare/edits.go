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

// changeMemory adds Forkyard's files to gVisor and makes the edits that call them.
func changeMemory(module string) error {
	if err := os.CopyFS(module, os.DirFS("added")); err != nil {
		return fmt.Errorf("adding files to the gvisor module: %w", err)
	}
	for _, edits := range [][]edit{forkEdits, restoreEdits, startEdits} {
		for _, edit := range edits {
			if err := edit.apply(module); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e edit) apply(module string) error {
	return rewrite(filepath.Join(module, e.file), func(source string) (string, error) {
		if strings.Count(source, e.old) != 1 {
			return "", fmt.Errorf("what is to be replaced is not where it was expected:\n%s", e.old)
		}
		return strings.Replace(source, e.old, e.new, 1), nil
	})
}
