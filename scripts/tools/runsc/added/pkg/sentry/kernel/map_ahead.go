package kernel

import (
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/sentry/mm"
)

// MapAhead maps what the processes of a restored kernel have in memory before
// they run (mm.MemoryManager.MapAhead).
//
// Preconditions: the kernel was loaded, and has not been started.
func (k *Kernel) MapAhead(ctx context.Context) {
	done := make(map[*mm.MemoryManager]struct{})
	for _, t := range k.tasks.Root.Tasks() {
		m := t.MemoryManager()
		if _, ok := done[m]; ok || m == nil {
			continue
		}
		done[m] = struct{}{}
		m.MapAhead(ctx)
	}
}
