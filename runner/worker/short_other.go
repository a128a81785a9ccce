//go:build !linux

package worker

import "fmt"

// shortPath gives a name of dir that fits into the address of a socket.
func shortPath(dir string) (short string, done func(), err error) {
	if len(dir) > 90 {
		return "", nil, fmt.Errorf("the name %s is too long for a socket", dir)
	}
	return dir, func() {}, nil
}
