package sandboxsetup

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"gvisor.dev/gvisor/pkg/hostsyscall"
	"gvisor.dev/gvisor/runsc/cmd/util"
)

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// What the child uses; nothing can be allocated in it.
var (
	umounterName = [...]byte{'u', 'm', 'o', 'u', 'n', 't', 'e', 'r', 0}
	procPath     = [...]byte{'/', 'p', 'r', 'o', 'c', 0}
	syncByte     [1]byte
)

// ForkProcUmounter is ExecProcUmounter without a start of the program: the
// child is a fork that makes a few system calls. As there, it unmounts /proc
// and ends when a byte is written to the returned pipe (UmountProcFile).
func ForkProcUmounter() *os.File {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		util.Fatalf("error creating a pipe: %v", err)
	}
	if errno := forkProcUmounter(uintptr(pipe[0])); errno != 0 {
		util.Fatalf("error forking the umounter: %v", errno)
	}
	unix.Close(pipe[0])
	return os.NewFile(uintptr(pipe[1]), "procfs umount sync FD")
}

// The child has one thread and whatever locks others held at the time of the
// fork, so nothing in it may allocate, take a lock or be rescheduled.
//
//go:norace
func forkProcUmounter(readEnd uintptr) unix.Errno {
	beforeFork()
	pid, errno := hostsyscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		afterFork()
		return errno
	}
	afterForkInChild()

	hostsyscall.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_NAME, uintptr(unsafe.Pointer(&umounterName)), 0)
	hostsyscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	// It needs nothing else of its parent's, whose end it would not see with the write end open.
	hostsyscall.RawSyscall(unix.SYS_CLOSE_RANGE, 0, readEnd-1, 0)
	hostsyscall.RawSyscall(unix.SYS_CLOSE_RANGE, readEnd+1, ^uintptr(0)>>32, 0)
	status := uintptr(1)
	for {
		n, errno := hostsyscall.RawSyscall(unix.SYS_READ, readEnd, uintptr(unsafe.Pointer(&syncByte)), 1)
		if errno == unix.EINTR {
			continue
		}
		if errno == 0 && n == 1 {
			_, errno = hostsyscall.RawSyscall(unix.SYS_UMOUNT2, uintptr(unsafe.Pointer(&procPath)), unix.MNT_DETACH, 0)
			if errno == 0 {
				status = 0
			}
		}
		break
	}
	for {
		hostsyscall.RawSyscall(unix.SYS_EXIT_GROUP, status, 0, 0)
	}
}
