package all_test

// exampleHost is what the examples find: files, packages, units and users, in the
// form that the stand-ins of modulestest keep them.
func exampleHost() map[string]string {
	const unit = "LoadState=loaded\nSubState=x\nMainPID=7\nType=forking\nNeedDaemonReload=no\nFragmentPath=/lib/x\n"
	const off, on = unit + "ActiveState=inactive\nUnitFileState=disabled\n", unit + "ActiveState=active\nUnitFileState=enabled\n"
	return map[string]string{
		"/etc/hostname": "web-01\n",
		"/etc/hosts":    "127.0.0.1 localhost\n",
		"/etc/motd":     "welcome\n",
		"/etc/motd.old": "welcome, long ago\n",
		"/etc/app.conf": "port=8080\ndebug=on\n",
		"/srv/app/old/": "", "/srv/app/old/x": "",
		"/var/log/": "",

		"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\ndeploy:x:1000:1000:Deploy:/home/deploy:/bin/bash\nguest:x:1001:1001::/home/guest:/bin/sh\n",
		"/etc/group":  "root:x:0:\nnogroup:x:65534:\ndeploy:x:1000:\nguest:x:1001:\nwww-data:x:33:\nadm:x:4:deploy\nold-team:x:50:\n",
		"/etc/shadow": "root:*:19000:0:99999:7:::\ndeploy:$6$a$b:19000:0:99999:7:::\nguest:!$6$a$b:19000:0:99999:7:::\n",

		"/proc/sys/net/ipv4/ip_forward": "0\n", "/proc/sys/kernel/hostname": "web-01\n",
		"/proc/self/mountinfo":              "1 0 8:1 / / rw,relatime - ext4 /dev/vda1 rw\n2 1 8:17 / /mnt/old rw,relatime - ext4 /dev/vdc1 rw\n",
		"/etc/fstab":                        "# <file system> <mount point> <type> <options> <dump> <pass>\n/dev/vda1 / ext4 defaults 0 1\n/dev/vdc1 /mnt/old ext4 defaults 0 2\n",
		"/mnt/old/":                         "",
		"/usr/share/zoneinfo/Europe/Berlin": "TZif2", "/etc/timezone": "Etc/UTC\n",
		"/etc/sysctl.d/old.conf": "vm.swappiness = 1\n",
		"/etc/cron.d/reports":    "#Ansible: old report\n0 5 * * * root /usr/local/bin/report\n",

		"/etc/ssh/ssh_known_hosts":   "old.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPt1MdqmbYEiaECdXDoAgDSYUulJuDnvFDG8TWutGXCy\n",
		"/root/.ssh/authorized_keys": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPt1MdqmbYEiaECdXDoAgDSYUulJuDnvFDG8TWutGXCy old\n",

		"/etc/ufw/ufw.conf": "ENABLED=no\n", "/etc/default/ufw": "IPV6=no\n", "/etc/ufw/user.rules": "### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n",
		"/etc/nftables.d/sloth.nft": nftTable, "/run/standin/nft": nftTable, "/etc/nftables.conf": "include \"/etc/nftables.d/sloth.nft\"\n",
		"/etc/systemd/system/sysinit.target.wants/nftables.service": "",

		"/srv/registry": "express 4.18.2\n", "/srv/shop/node_modules/left-pad/package.json": `{"version": "1.3.0"}`,
		"/srv/old/venv/bin/pip": "", "/srv/old/venv/lib/python3.11/site-packages/flask-3.0.dist-info/METADATA": "Name: flask\nVersion: 3.0\n",

		"/etc/apt/sources.list.d/old-tools.list": "deb https://old.example.com stable main\n", "/etc/yum.repos.d/": "", "/etc/zypp/repos.d/": "",

		"/var/lib/dpkg/standin":               "curl 8.0\nopenssl 3.0.1\ntelnet 0.17\nleftover 1\n",
		"/var/lib/dpkg/held":                  "curl\n",
		"/var/lib/apt/lists/standin_Packages": "nginx 1.22\ncurl 8.0\nopenssl 3.0.2\n",
		"/var/lib/apt/upstream":               "nginx 1.24\ncurl 8.0\nopenssl 3.0.2\n",
		"/var/lib/apt/orphans":                "leftover\n",
		"/var/cache/apt/archives/x_1.deb":     "x 1\n",
		"/tmp/app_1.0_all.deb":                "app 1.0\n",

		"/run/systemd/system/": "", "/run/standin/nginx.service": off, "/run/standin/ssh.service": on,
		"/run/standin/cups.service":          "LoadState=masked\nActiveState=inactive\nUnitFileState=masked\n",
		"/run/standin/cron.service":          on,
		"/etc/systemd/system/oldapp.service": "[Service]\nExecStart=/usr/bin/oldapp\n",
	}
}

// nftTable is what the module firewall writes for two rules.
const nftTable = `# Written by sloth (firewall). The table is replaced as a whole.
# policy {"incoming":"deny","outgoing":"allow"}
table inet sloth
delete table inet sloth
table inet sloth {
	chain input {
		type filter hook input priority 0; policy drop;
		ct state established,related accept
		iif "lo" accept
		meta l4proto { 1, 58 } accept
		ip6 saddr fe80::/10 udp dport 546 accept
		# rule {"action":"allow","direction":"in","proto":"tcp","port":"22"}
		tcp dport 22 accept
		# rule {"action":"allow","direction":"in","proto":"tcp","port":"8080"}
		tcp dport 8080 accept
	}
	chain output {
		type filter hook output priority 0; policy accept;
	}
}
`
