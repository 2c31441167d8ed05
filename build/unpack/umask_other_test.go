//go:build !unix

package unpack

func umask(int) (restore func()) { return func() {} }
