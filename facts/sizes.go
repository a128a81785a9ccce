package facts

import (
	"runtime"
	"strconv"
)

const pointerBits = strconv.IntSize

// goMachine is what uname would say of the machine this program was built for.
var goMachine = map[string]string{"386": "i386", "arm": "armv7l", "amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]

// sizes are the size facts of one mount; counts as the kernel gives them.
func sizes(block, blocks, available, inodes, freeInodes int64) map[string]any {
	return map[string]any{
		"block_size": int(block), "block_total": number(blocks), "block_available": number(available), "block_used": number(blocks - available),
		"size_total": number(blocks * block), "size_available": number(available * block),
		"inode_total": number(inodes), "inode_available": number(freeInodes), "inode_used": number(inodes - freeInodes),
	}
}

// number is n as int, or as float64 where int is too small for it.
func number(n int64) any {
	if int64(int(n)) == n {
		return int(n)
	}
	return float64(n)
}
