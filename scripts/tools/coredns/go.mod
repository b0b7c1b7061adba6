module forkyard/tools/coredns

go 1.26.3

require github.com/coredns/coredns v1.14.5
