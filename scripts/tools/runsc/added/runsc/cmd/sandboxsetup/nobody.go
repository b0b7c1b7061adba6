package sandboxsetup

import (
	"fmt"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"gvisor.dev/gvisor/pkg/timing"
)

// BecomeNobody makes every thread of the process nobody, without any
// capability. It is CallSelfAsNobody without the second start of the program,
// which costs a sandbox as much as its first one: the runtime of a build
// without cgo reaches all of its threads, as ApplyCapsAllThreads has it do.
//
// Precondition: procfs is mounted at `/proc`.
func BecomeNobody(timer *timing.Timer) error {
	const nobody = 65534
	if err := syscall.Setgid(nobody); err != nil {
		return fmt.Errorf("error setting gid: %w", err)
	}
	if err := syscall.Setuid(nobody); err != nil {
		return fmt.Errorf("error setting uid: %w", err)
	}
	if err := ApplyCapsAllThreads(&specs.LinuxCapabilities{}, timer); err != nil {
		return fmt.Errorf("error dropping capabilities: %w", err)
	}
	// A change of user takes it away and a start of the program gives it back;
	// without it the platform cannot trace its stubs.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("error making the process traceable by itself: %w", err)
	}
	return nil
}
