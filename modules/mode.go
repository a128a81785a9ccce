package modules

import (
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
)

// Mode is a file mode as the language takes it: octal digits ("0644") or
// symbolic ("u+x,go-w"). Empty means that the mode is not said.
type Mode string

// ParseMode checks the text form of a mode.
func ParseMode(text string) (Mode, error) {
	text = strings.TrimPrefix(strings.TrimSpace(text), "0o")
	if text == "" {
		return "", fmt.Errorf(`a mode is octal digits such as "0644", or symbolic such as "u+x"`)
	}
	if text[0] >= '0' && text[0] <= '9' {
		n, err := strconv.ParseUint(text, 8, 32)
		if err != nil || n > 0o7777 {
			return "", fmt.Errorf(`mode %q is not octal between "0000" and "7777"`, text)
		}
		return Mode(fmt.Sprintf("%04o", n)), nil
	}
	m := Mode(text)
	if _, err := m.clauses(); err != nil {
		return "", err
	}
	return m, nil
}

// NumberMode takes a Lua number for a mode. 0o644 arrives as 420, which is
// right; 644 arrives as 644, which would be a different mode, and is refused
// together with the decimals that look like one.
func NumberMode(n float64) (Mode, error) {
	if n != math.Trunc(n) || n < 0 {
		return "", fmt.Errorf(`mode %v is not a mode; write "0644" or 0o644`, n)
	}
	i := int64(n)
	switch {
	case i == 400 || i == 440 || i == 444 || i > 0o777:
		digits := strconv.FormatInt(i, 10)
		if strings.Trim(digits, "01234567") != "" || len(digits) > 4 {
			return "", fmt.Errorf(`mode %s is not a mode; write "0644" or 0o644`, digits)
		}
		if len(digits) == 4 {
			return "", fmt.Errorf(`mode %s is over 0o777; write setuid, setgid and sticky modes as text, such as "4755"`, digits)
		}
		return "", fmt.Errorf(`mode %s is decimal in Lua, which is not the octal meant; write "0%s" or 0o%s`, digits, digits, digits)
	}
	return Mode(fmt.Sprintf("%04o", i)), nil
}

// Of gives the permissions that a file with the permissions old gets: nine
// bits and setuid, setgid, sticky as fs.FileMode has them. dir matters to X.
func (m Mode) Of(old fs.FileMode, dir bool) (fs.FileMode, error) {
	if m == "" {
		return PermBits(old), nil
	}
	if m[0] >= '0' && m[0] <= '9' {
		n, err := strconv.ParseUint(string(m), 8, 32)
		if err != nil {
			return 0, fmt.Errorf("mode %q: %w", string(m), err)
		}
		return FileMode(uint32(n)), nil
	}
	cs, err := m.clauses()
	if err != nil {
		return 0, err
	}
	bits := UnixMode(old)
	for _, c := range cs {
		bits = c.apply(bits, dir)
	}
	return FileMode(bits), nil
}

// ModeText is perm in the four octal digits people write.
func ModeText(perm fs.FileMode) string { return fmt.Sprintf("%04o", UnixMode(perm)) }

// PermBits keeps what chmod can set.
func PermBits(m fs.FileMode) fs.FileMode {
	return m & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
}

// FileMode turns the twelve bits of chmod into an fs.FileMode.
func FileMode(unix uint32) fs.FileMode {
	m := fs.FileMode(unix & 0o777)
	for bit, flag := range specials {
		if unix&bit != 0 {
			m |= flag
		}
	}
	return m
}

// UnixMode is the reverse of FileMode.
func UnixMode(m fs.FileMode) uint32 {
	unix := uint32(m.Perm())
	for bit, flag := range specials {
		if m&flag != 0 {
			unix |= bit
		}
	}
	return unix
}

var specials = map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky}

type clause struct {
	who   uint32 // permission bits of the classes named, 0o700 | 0o070 | 0o007
	op    byte
	perms string
}

func (m Mode) clauses() ([]clause, error) {
	var out []clause
	for part := range strings.SplitSeq(string(m), ",") {
		at := strings.IndexAny(part, "+-=")
		if at < 0 {
			return nil, fmt.Errorf(`mode %q is neither octal ("0644") nor symbolic ("u+x,go-w")`, string(m))
		}
		if at == 0 {
			return nil, fmt.Errorf(`mode %q does not say whose; write "a%s" for everybody`, string(m), part)
		}
		c := clause{op: part[at], perms: part[at+1:]}
		for _, w := range part[:at] {
			switch w {
			case 'u':
				c.who |= 0o700
			case 'g':
				c.who |= 0o070
			case 'o':
				c.who |= 0o007
			case 'a':
				c.who |= 0o777
			default:
				return nil, fmt.Errorf("mode %q: %q is none of u, g, o, a", string(m), w)
			}
		}
		if bad := strings.Trim(c.perms, "rwxXst"); bad != "" {
			return nil, fmt.Errorf("mode %q: %q is none of r, w, x, X, s, t", string(m), bad)
		}
		out = append(out, c)
	}
	return out, nil
}

func (c clause) apply(bits uint32, dir bool) uint32 {
	var set uint32
	for _, p := range c.perms {
		switch p {
		case 'r':
			set |= 0o444 & c.who
		case 'w':
			set |= 0o222 & c.who
		case 'x':
			set |= 0o111 & c.who
		case 'X':
			if dir || bits&0o111 != 0 {
				set |= 0o111 & c.who
			}
		case 's':
			if c.who&0o700 != 0 {
				set |= 0o4000
			}
			if c.who&0o070 != 0 {
				set |= 0o2000
			}
		case 't':
			set |= 0o1000
		}
	}
	switch c.op {
	case '+':
		return bits | set
	case '-':
		return bits &^ set
	}
	return bits&^c.who | set
}
