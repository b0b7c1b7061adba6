package mm

import (
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/memmap"
)

// maxMappedAhead bounds the mappings that are made ahead for one process: a
// process with more of them hardly needs them all at once.
const maxMappedAhead = 1024

// MapAhead maps into the new address space of a restored process what it had
// when it was saved, as far as that needs no memory: the pages that were saved
// with it, and files that are mapped as they are. Otherwise the process would
// fault in each of its mappings, and a fault costs ten times what the mapping
// costs. It is best effort: what it leaves out is faulted in when needed.
//
// Preconditions: mm was loaded, and nothing runs in it.
func (mm *MemoryManager) MapAhead(ctx context.Context) {
	mm.mappingMu.RLock()
	defer mm.mappingMu.RUnlock()
	mm.activeMu.Lock()
	defer mm.activeMu.Unlock()
	if mm.as == nil {
		return
	}

	// What files have of it is not saved, and translated again.
	for vseg := mm.vmas.FirstSegment(); vseg.Ok(); vseg = vseg.NextSegment() {
		if vseg.ValuePtr().mappable != nil {
			mm.translateAheadLocked(ctx, vseg)
		}
	}

	mapped := 0
	for pseg := mm.pmas.FirstSegment(); pseg.Ok() && mapped < maxMappedAhead; pseg = pseg.NextSegment() {
		if mm.mapASLocked(ctx, pseg, pseg.Range(), memmap.PlatformEffectDefault) != nil {
			return
		}
		mapped++
	}
}

// translateAheadLocked makes pmas of the parts of a mapped file that have none,
// as long as one page brings others with it.
//
// Preconditions: mm.mappingMu and mm.activeMu must be locked, activeMu for
// writing.
func (mm *MemoryManager) translateAheadLocked(ctx context.Context, vseg vmaIterator) {
	for addr := vseg.Start(); addr < vseg.End(); {
		pseg, _ := mm.pmas.Find(addr)
		if !pseg.Ok() {
			ar := hostarch.AddrRange{Start: addr, End: addr + hostarch.PageSize}
			pseg = mm.pmaAheadLocked(ctx, ar, hostarch.Read)
			if !pseg.Ok() || pseg.Range().Length() == hostarch.PageSize {
				return
			}
		}
		addr = pseg.End()
	}
}
