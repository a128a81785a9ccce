package facts

import (
	"context"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// account is the user that sloth runs as here, after become.
func (h host) account(context.Context) (map[string]any, error) {
	uid := os.Geteuid()
	out := map[string]any{
		"real_user_id": os.Getuid(), "effective_user_id": uid, "real_group_id": os.Getgid(),
		"effective_group_id": os.Getegid(), "user_uid": uid, "user_gid": os.Getegid(),
	}
	name := strconv.Itoa(uid)
	for _, line := range h.lines("/etc/passwd") {
		f := strings.Split(line, ":")
		if len(f) == 7 && f[2] == name {
			name = f[0]
			out["user_gecos"], out["user_dir"], out["user_shell"] = f[4], f[5], f[6]
			out["user_id"], out["user"] = name, name
			return out, nil
		}
	}
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
		out["user_gecos"], out["user_dir"] = u.Name, u.HomeDir
	}
	put(out, "user_dir", os.Getenv("HOME"))
	put(out, "user_shell", os.Getenv("SHELL"))
	out["user_id"], out["user"] = name, name
	return out, nil
}

func (h host) environment(context.Context) (map[string]any, error) {
	env := map[string]any{}
	for _, kv := range os.Environ() {
		if k, v, ok := strings.Cut(kv, "="); ok && k != "" {
			env[k] = v
		}
	}
	return map[string]any{"env": env}, nil
}
