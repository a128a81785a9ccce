package all_test

import (
	"os"
	"testing"

	"github.com/sloth-runner/sloth/modules/all"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

func TestContract(t *testing.T) {
	skip := map[string]string{}
	if os.Geteuid() != 0 && os.Getenv("SLOTH_MUST_RUN") != "1" {
		skip["fs.chown"] = "only root gives files away"
	}
	unvaried := map[string]string{}
	ofHost(skip, unvaried)
	modulestest.Contract(t, all.Modules(), modulestest.Options{
		Vary:     "../testdata",
		Skip:     skip,
		Unvaried: unvaried,
		Host: map[string]string{
			"/etc/passwd":   "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
			"/etc/group":    "root:x:0:\nnogroup:x:65534:\n",
			"/etc/hostname": "web-01\n",
			"/etc/hosts":    "127.0.0.1 localhost\n",
			"/etc/motd":     "welcome\n",
			"/etc/motd.old": "welcome, long ago\n",
			"/etc/app.conf": "port=8080\ndebug=on\n",
			"/srv/app/old/": "", "/srv/app/old/x": "",
			"/var/log/": "",

			"/etc/systemd/system/oldapp.service": "[Service]\nExecStart=/usr/bin/oldapp\n",
		},
		Controller: map[string]string{
			"site.conf.j2":        "port {{ port }}\n",
			"site/index.html":     "<h1>hello</h1>\n",
			"site/css/style.css":  "h1 { color: green }\n",
			"site/img/empty/.git": "",
		},
	})
}

func TestCases(t *testing.T) { modulestest.Cases(t, "../testdata", all.Modules()) }
