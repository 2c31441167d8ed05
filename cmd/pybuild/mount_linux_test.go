package main

import "syscall"

// mountSmall mounts a file system of one MiB.
func mountSmall(dir string) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0755")
}

func unmount(dir string) error { return syscall.Unmount(dir, syscall.MNT_DETACH) }
