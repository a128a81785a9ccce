// Package sshclient is the module ssh: connections of the controller to other
// hosts, which a Provider makes, and key files, which are read and written
// natively wherever the task runs.
package sshclient

import (
	"strings"

	"github.com/sloth-runner/sloth/modules"
)

const (
	result = "{success, changed, …}"
	nobody = `local c = { success = true, id = "none" } -- what ssh.connect("web-01") returns` + "\n"
	sample = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBhRcXGhT0mZr3l2Z2cY0d0b7wB4T3d9dmCqS6yE0qkV"
)

// Module describes the module ssh. Without a provider every function on a
// connection is an error that says so.
func Module(p Provider) modules.Module {
	b := base{p}
	return modules.Module{
		Name:    "ssh",
		Summary: "Reach other hosts from the controller over SSH, and make, read and authorize keys anywhere; raises on failure.",
		Funcs: append([]modules.Func{
			{
				Name: "connect", Summary: "Connect to a host, its key verified as ssh does; the functions are methods of the result. A plan does not connect.",
				Example: `local ok, message = pcall(ssh.connect, { host = "192.0.2.1", user = "deploy", timeout = 1 })`,
				Returns: "{success, id, host}, with user and port where they were given", Methods: true,
				New: func() any { return &Connect{looks: looks{b}} },
			},
			{
				Name: "disconnect", Aliases: []string{"close"}, Summary: "Close a connection and its tunnels; the end of the run does that too.", Returns: result,
				Example: nobody + `pcall(ssh.disconnect, c)`,
				New:     b.disconnect,
			},
			{
				Name: "exec", Aliases: []string{"run", "execute"}, Summary: "Run a command on the host; its failure is in the result, a lost connection raises.",
				Returns: "{success, stdout, stderr, exit_code, error, changed, duration}",
				Example: nobody + `pcall(ssh.exec, c, "uptime")`,
				New:     b.exec,
			},
			{
				Name: "upload", Summary: "Copy a file to the host: whole or not at all, and only when it differs.", Returns: result,
				Example: nobody + `pcall(ssh.upload, { connection = c, local_path = "app.tar.gz", remote_path = "/tmp/app.tar.gz" })`,
				New:     b.upload,
			},
			{
				Name: "download", Summary: "Copy a file from the host: whole or not at all, and only when it differs.", Returns: result,
				Example: nobody + `pcall(ssh.download, c, "/etc/hostname", "hostname.txt")`,
				New:     b.download,
			},
			{
				Name: "upload_dir", Summary: "Copy the files of a folder to the host; what else is there stays.", Returns: "{success, changed, files, copied}",
				Example: nobody + `pcall(ssh.upload_dir, c, "site", "/srv/site")`,
				New:     b.uploadDir,
			},
			{
				Name: "download_dir", Summary: "Copy the files of a folder of the host; what else is there stays.", Returns: "{success, changed, files, copied}",
				Example: nobody + `pcall(ssh.download_dir, c, "/srv/site", "site")`,
				New:     b.downloadDir,
			},
			{
				Name: "exists", Summary: "Tell whether a path is there.", Returns: "boolean",
				Example: nobody + `pcall(ssh.exists, c, "/etc/hostname")`,
				New:     b.exists,
			},
			{
				Name: "stat", Summary: "Describe a path; one that is not there is nil.", Returns: "{path, name, type, mode, size, uid, gid, mtime, is_dir}",
				Example: nobody + `pcall(ssh.stat, c, "/etc/hostname")`,
				New:     b.stat,
			},
			{
				Name: "list_dir", Aliases: []string{"ls"}, Summary: "Describe what is in a folder.", Returns: "list of what stat returns",
				Example: nobody + `pcall(ssh.list_dir, c, "/etc")`,
				New:     b.listDir,
			},
			{
				Name: "mkdir", Summary: "Make a folder, and those above it.", Returns: result,
				Example: nobody + `pcall(ssh.mkdir, c, "/srv/site", { mode = "0755" })`,
				New:     b.mkdir,
			},
			{
				Name: "remove", Aliases: []string{"rm"}, Summary: "Remove a file, or with recursive a folder and all in it; what is not there is fine.", Returns: result,
				Example: nobody + `pcall(ssh.remove, c, "/tmp/app.tar.gz")`,
				New:     b.remove,
			},
			{
				Name: "rename", Aliases: []string{"move"}, Summary: "Give a path another name, in place of what has it.", Returns: result,
				Example: nobody + `pcall(ssh.rename, c, "/tmp/app.new", "/tmp/app")`,
				New:     b.rename,
			},
			{
				Name: "chmod", Summary: "Set the mode of a path.", Returns: result,
				Example: nobody + `pcall(ssh.chmod, c, "/tmp/app", "0755")`,
				New:     b.chmod,
			},
			{
				Name: "chown", Summary: "Set owner and group of a path, by name or number.", Returns: result,
				Example: nobody + `pcall(ssh.chown, c, "/tmp/app", "root", "root")`,
				New:     b.chown,
			},
			{
				Name: "create_tunnel", Aliases: []string{"tunnel"}, Summary: "Listen on the controller, and forward to what the host can reach.", Returns: "{success, id, local_host, local_port, remote_host, remote_port}",
				Example: nobody + `pcall(ssh.create_tunnel, c, 0, "127.0.0.1", 5432)`,
				New:     b.tunnel,
			},
			{
				Name: "close_tunnel", Summary: "End a tunnel and what goes through it.", Returns: result,
				Example: `pcall(ssh.close_tunnel, "tunnel-1")`,
				New:     func() any { return &CloseTunnel{looks: looks{b}} },
			},
		}, keyFuncs()...),
	}
}

// keyFuncs need no connection.
func keyFuncs() []modules.Func {
	add, remove, list := authorized("present"), authorized("absent"), authorized("list")
	ours := strings.NewReplacer("authorized_key.present(", "ssh.add_authorized_key(", "authorized_key.absent(", "ssh.remove_authorized_key(")
	add.Name, add.Aliases = "add_authorized_key", nil
	remove.Name, remove.Aliases = "remove_authorized_key", nil
	add.Example, remove.Example = ours.Replace(add.Example), ours.Replace(remove.Example)
	list.Name, list.Aliases = "list_authorized_keys", []string{"list_authorized_key"}
	list.Example = `local keys = ssh.list_authorized_keys("root")`
	return []modules.Func{
		{
			Name: "generate_keypair", Aliases: []string{"generate_key"}, Summary: "Make a private key without a passphrase, and its .pub beside it, where there are none.",
			Returns: "{success, changed, message, diff, path, public_key_path, public_key, fingerprint, type}",
			Example: `ssh.generate_keypair("/etc/deploy_key", { comment = "deploy" })`,
			New:     newPair,
		},
		{
			Name: "load_private_key", Summary: "Read a private key file of OpenSSH or PEM; the key itself is a secret.",
			Returns: "{path, type, comment, public_key, fingerprint, encrypted, private_key}",
			Example: `local ok, key = pcall(ssh.load_private_key, "/root/.ssh/id_ed25519")`,
			New:     func() any { return &loadKey{} },
		},
		add, remove, list,
		{
			Name: "key_exists", Summary: "Tell whether a key may log in as a user.", Returns: "boolean",
			Example: `local yes = ssh.key_exists("root", "` + sample + `")`,
			New:     func() any { return &keyExists{} },
		},
	}
}
