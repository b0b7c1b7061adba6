package mm

import (
	"sort"

	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/memmap"
	"gvisor.dev/gvisor/pkg/sync"
)

const (
	// maxForkFaults bounds the pages that are remembered for one parent: 16
	// MiB of its memory.
	maxForkFaults = 4096

	// firstCopyLength is how much is copied at each write fault of a child
	// about whose siblings nothing is known.
	firstCopyLength = 64 << 10
)

// forkFaults remembers the pages that the children of one process fault in.
// The children of a process that forks the same state again and again do much
// the same, and a fault costs tens of microseconds, most of them in switches
// between application and sentry: what at least half of the children needed,
// the next one is given before it runs.
type forkFaults struct {
	mu sync.Mutex

	// forks is the number of children so far.
	forks int

	// pruned is the number of children when rare pages were last dropped.
	pruned int

	pages map[hostarch.Addr]*forkFault
}

type forkFault struct {
	// children is the number of children that needed the page, or were given
	// it ahead.
	children int

	// last is the number of the last of them.
	last int

	// write is true if a child wrote to the page.
	write bool
}

func newForkFaults() *forkFaults {
	return &forkFaults{pages: make(map[hostarch.Addr]*forkFault)}
}

func (f *forkFaults) newSibling() *sibling {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forks++
	return &sibling{faults: f, number: f.forks}
}

// sibling is one child of such a process.
type sibling struct {
	faults *forkFaults

	// number counts from 1.
	number int
}

// copyRange returns the range to copy for a write to ar. s may be nil.
func (s *sibling) copyRange(ar hostarch.AddrRange) hostarch.AddrRange {
	if s != nil && s.number > 1 {
		return ar
	}
	const mask = hostarch.Addr(firstCopyLength - 1)
	end := (ar.End + mask) &^ mask
	if end < ar.End {
		end = ar.End
	}
	return hostarch.AddrRange{Start: ar.Start &^ mask, End: end}
}

// record notes that the child needed the pages in ar. s may be nil.
func (s *sibling) record(ar hostarch.AddrRange, write bool) {
	// Larger ranges are those of system calls, into buffers that are
	// elsewhere in the next child.
	if s == nil || ar.Length() > firstCopyLength {
		return
	}
	f := s.faults
	f.mu.Lock()
	defer f.mu.Unlock()
	for addr := ar.Start; addr < ar.End; addr += hostarch.PageSize {
		page := f.pages[addr]
		if page == nil {
			if len(f.pages) >= maxForkFaults && !f.pruneLocked() {
				return
			}
			page = &forkFault{}
			f.pages[addr] = page
		}
		if page.last != s.number {
			page.last = s.number
			page.children++
		}
		page.write = page.write || write
	}
}

// pruneLocked drops the pages that few children needed, at most once for each
// child. It returns false if there is room for none.
//
// Preconditions: f.mu must be locked.
func (f *forkFaults) pruneLocked() bool {
	if f.pruned == f.forks {
		return false
	}
	f.pruned = f.forks
	for addr, page := range f.pages {
		if page.children*4 < f.forks {
			delete(f.pages, addr)
		}
	}
	return len(f.pages) < maxForkFaults
}

// ahead returns what to give to the child before it runs: pages in ascending
// order, and those of them that it will write to.
func (s *sibling) ahead() (pages, writes []hostarch.Addr) {
	f := s.faults
	f.mu.Lock()
	defer f.mu.Unlock()
	for addr, page := range f.pages {
		if page.children*2 < s.number-1 {
			continue
		}
		page.last = s.number
		page.children++
		pages = append(pages, addr)
		if page.write {
			writes = append(writes, addr)
		}
	}
	for _, addrs := range [][]hostarch.Addr{pages, writes} {
		sort.Slice(addrs, func(i, j int) bool { return addrs[i] < addrs[j] })
	}
	return pages, writes
}

// FaultAhead maps into mm, the memory of a child that did not run yet, the
// pages that its siblings faulted in, and breaks copy-on-write where they
// wrote. It is best effort: what it leaves out is faulted in when needed.
//
// Preconditions: mm is the result of Fork, and nothing runs in it.
func (mm *MemoryManager) FaultAhead(ctx context.Context) {
	pages, writes := mm.sibling.ahead()
	if len(pages) == 0 {
		return
	}
	mm.mappingMu.RLock()
	defer mm.mappingMu.RUnlock()
	mm.activeMu.Lock()
	defer mm.activeMu.Unlock()

	// Before copies split them, pmas are large: one mapping serves many pages.
	var mapped hostarch.AddrRange
	for _, addr := range pages {
		ar := hostarch.AddrRange{Start: addr, End: addr + hostarch.PageSize}
		if mapped.IsSupersetOf(ar) {
			continue
		}
		if pseg := mm.pmaAheadLocked(ctx, ar, hostarch.Read); pseg.Ok() {
			if mm.mapASLocked(ctx, pseg, ar, memmap.PlatformEffectDefault) != nil {
				return
			}
			mapped = pseg.Range()
		}
	}

	for len(writes) > 0 {
		run := hostarch.AddrRange{Start: writes[0], End: writes[0] + hostarch.PageSize}
		writes = writes[1:]
		for len(writes) > 0 && writes[0] == run.End {
			run.End += hostarch.PageSize
			writes = writes[1:]
		}
		// Mapping the copy replaces what is mapped there, so that this need
		// not be unmapped first.
		as := mm.as
		mm.as = nil
		pseg := mm.pmaAheadLocked(ctx, run, hostarch.Write)
		mm.as = as
		if !pseg.Ok() || mm.mapASLocked(ctx, pseg, run, memmap.PlatformEffectCommit) != nil {
			mm.unmapASLocked(run)
		}
	}
}

// pmaAheadLocked returns the first pma of ar, all of which it makes
// accessible, or a terminal iterator if that cannot be.
//
// Preconditions: mm.mappingMu and mm.activeMu must be locked, activeMu for
// writing.
func (mm *MemoryManager) pmaAheadLocked(ctx context.Context, ar hostarch.AddrRange, at hostarch.AccessType) pmaIterator {
	vseg := mm.vmas.FindSegment(ar.Start)
	// A run of pages may go over the end of one vma: rare, and left out.
	if !vseg.Ok() || !vseg.Range().IsSupersetOf(ar) || !vseg.ValuePtr().effectivePerms.SupersetOf(at) {
		return pmaIterator{}
	}
	pseg, _, err := mm.getPMAsLocked(ctx, vseg, ar, at, at.Write, false /* forPin */)
	if err != nil {
		return pmaIterator{}
	}
	return pseg
}
