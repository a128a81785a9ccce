package all_test

import (
	"os"
	"testing"

	"github.com/sloth-runner/sloth/modules/all"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

func TestContract(t *testing.T) {
	skip := map[string]string{"systemd.daemon_reload": "what systemd has in memory is in no file"}
	skip["ssh.generate_keypair"] = "no two keys are alike"
	if os.Geteuid() != 0 && os.Getenv("SLOTH_MUST_RUN") != "1" {
		skip["fs.chown"] = "only root gives files away"
		skip["authorized_key.present"] = skip["fs.chown"]
		skip["ssh.add_authorized_key"] = skip["fs.chown"]
	}
	modulestest.Contract(t, all.Modules(), modulestest.Options{
		Vary: "../testdata",
		Skip: skip,
		Host: exampleHost(),
		Controller: map[string]string{
			"app.tar.gz!app-1.0/bin/app": "#!/bin/sh\n", "app.tar.gz!app-1.0/log -> var/log": "",

			"site.conf.j2":        "port {{ port }}\n",
			"site/index.html":     "<h1>hello</h1>\n",
			"site/css/style.css":  "h1 { color: green }\n",
			"site/img/empty/.git": "",
		},
	})
}

func TestCases(t *testing.T) { modulestest.Cases(t, "../testdata", all.Modules()) }
