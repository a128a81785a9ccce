package ssh

import (
	"net"
	"strconv"
	"strings"
	"time"
)

// kind says what a directive takes.
type kind int

const (
	kindString  kind = iota // one argument
	kindStrings             // one or more
	kindRest                // the rest of the line as it is
	kindEnum                // one of some words
	kindInt
	kindPort
	kindTime
	kindAny // taken and ignored by OpenSSH itself
)

type directive struct {
	kind  kind
	words string // for kindEnum, in lower case
	alias string // the name it is known by today
	many  bool   // values add up; otherwise the first one wins
}

const (
	yesNo    = "yes no true false"
	yesNoAsk = yesNo + " ask"
)

// directives are the keywords of OpenSSH 9.2 and those added up to 10.0. A
// file with any other is refused, as ssh does: a misspelt option must not be
// silently without effect.
var directives = map[string]directive{
	"host": {kind: kindStrings}, "match": {kind: kindRest}, "include": {kind: kindStrings}, "ignoreunknown": {},

	"addressfamily": {kind: kindEnum, words: "inet inet6 any"}, "batchmode": {kind: kindEnum, words: yesNo},
	"bindaddress": {}, "bindinterface": {}, "casignaturealgorithms": {}, "certificatefile": {many: true},
	"ciphers": {}, "compression": {kind: kindEnum, words: "yes no"}, "connectionattempts": {kind: kindInt},
	"connecttimeout": {kind: kindTime}, "globalknownhostsfile": {kind: kindStrings}, "hashknownhosts": {kind: kindEnum, words: yesNo},
	"hostkeyalgorithms": {}, "hostkeyalias": {}, "hostname": {}, "identitiesonly": {kind: kindEnum, words: yesNo},
	"identityagent": {}, "identityfile": {many: true}, "kbdinteractiveauthentication": {kind: kindEnum, words: yesNo},
	"kexalgorithms": {}, "macs": {}, "nohostauthenticationforlocalhost": {kind: kindEnum, words: yesNo},
	"passwordauthentication": {kind: kindEnum, words: yesNo}, "port": {kind: kindPort}, "preferredauthentications": {},
	"proxycommand": {kind: kindRest}, "proxyjump": {kind: kindRest}, "pubkeyacceptedalgorithms": {},
	"pubkeyauthentication": {kind: kindEnum, words: yesNo + " unbound host-bound"}, "requiredrsasize": {kind: kindInt},
	"revokedhostkeys": {}, "serveralivecountmax": {kind: kindInt}, "serveraliveinterval": {kind: kindTime},
	"stricthostkeychecking": {kind: kindEnum, words: yesNoAsk + " off accept-new"}, "tcpkeepalive": {kind: kindEnum, words: yesNo},
	"user": {}, "userknownhostsfile": {kind: kindStrings},

	// Known, and without effect here.
	"addkeystoagent": {kind: kindStrings}, "canonicaldomains": {kind: kindStrings}, "canonicalizefallbacklocal": {kind: kindEnum, words: yesNo},
	"canonicalizehostname": {kind: kindEnum, words: yesNo + " always"}, "canonicalizemaxdots": {kind: kindInt},
	"canonicalizepermittedcnames": {kind: kindStrings}, "channeltimeout": {kind: kindStrings}, "checkhostip": {kind: kindEnum, words: yesNo},
	"clearallforwardings": {kind: kindEnum, words: yesNo}, "controlmaster": {kind: kindEnum, words: yesNoAsk + " auto autoask"},
	"controlpath": {}, "controlpersist": {}, "dynamicforward": {many: true}, "enableescapecommandline": {kind: kindEnum, words: yesNo},
	"enablesshkeysign": {kind: kindEnum, words: yesNo}, "escapechar": {}, "exitonforwardfailure": {kind: kindEnum, words: yesNo},
	"fingerprinthash": {kind: kindEnum, words: "md5 sha256"}, "forkafterauthentication": {kind: kindEnum, words: yesNo},
	"forwardagent": {}, "forwardx11": {kind: kindEnum, words: yesNo}, "forwardx11timeout": {kind: kindTime},
	"forwardx11trusted": {kind: kindEnum, words: yesNo}, "gatewayports": {kind: kindEnum, words: yesNo},
	"gssapiauthentication": {kind: kindEnum, words: yesNo}, "gssapidelegatecredentials": {kind: kindEnum, words: yesNo},
	"gssapikeyexchange": {kind: kindEnum, words: yesNo}, "gssapiclientidentity": {}, "gssapiserveridentity": {}, "gssapikexalgorithms": {},
	"gssapirenewalforcesrekey": {kind: kindEnum, words: yesNo}, "gssapitrustdns": {kind: kindEnum, words: yesNo},
	"hostbasedacceptedalgorithms": {}, "hostbasedauthentication": {kind: kindEnum, words: yesNo}, "ipqos": {kind: kindStrings},
	"kbdinteractivedevices": {}, "knownhostscommand": {kind: kindRest}, "localcommand": {kind: kindRest}, "localforward": {kind: kindStrings, many: true},
	"loglevel": {}, "logverbose": {kind: kindStrings}, "numberofpasswordprompts": {kind: kindInt}, "obscurekeystroketiming": {kind: kindStrings},
	"permitlocalcommand": {kind: kindEnum, words: yesNo}, "permitremoteopen": {kind: kindStrings}, "pkcs11provider": {},
	"proxyusefdpass": {kind: kindEnum, words: yesNo}, "refuseconnection": {}, "rekeylimit": {kind: kindStrings}, "remotecommand": {kind: kindRest},
	"remoteforward": {kind: kindStrings, many: true}, "requesttty": {kind: kindEnum, words: yesNo + " force auto"}, "securitykeyprovider": {},
	"sendenv": {kind: kindStrings, many: true}, "sessiontype": {kind: kindEnum, words: "none subsystem default"}, "setenv": {kind: kindStrings, many: true},
	"stdinnull": {kind: kindEnum, words: yesNo}, "streamlocalbindmask": {}, "streamlocalbindunlink": {kind: kindEnum, words: yesNo},
	"syslogfacility": {}, "tag": {}, "tunnel": {kind: kindEnum, words: yesNo + " ethernet point-to-point"}, "tunneldevice": {},
	"updatehostkeys": {kind: kindEnum, words: yesNoAsk}, "verifyhostkeydns": {kind: kindEnum, words: yesNoAsk}, "versionaddendum": {kind: kindRest},
	"visualhostkey": {kind: kindEnum, words: yesNo}, "warnweakcrypto": {kind: kindStrings}, "xauthlocation": {},

	// Former names.
	"challengeresponseauthentication": {alias: "kbdinteractiveauthentication"}, "skeyauthentication": {alias: "kbdinteractiveauthentication"},
	"tisauthentication": {alias: "kbdinteractiveauthentication"}, "dsaauthentication": {alias: "pubkeyauthentication"},
	"identityfile2": {alias: "identityfile"}, "keepalive": {alias: "tcpkeepalive"}, "hostbasedkeytypes": {alias: "hostbasedacceptedalgorithms"},
	"pubkeyacceptedkeytypes": {alias: "pubkeyacceptedalgorithms"},

	// OpenSSH takes these and says so in its debug output only.
	"protocol": {kind: kindAny}, "cipher": {kind: kindAny}, "fallbacktorsh": {kind: kindAny}, "globalknownhostsfile2": {kind: kindAny},
	"rhostsauthentication": {kind: kindAny}, "userknownhostsfile2": {kind: kindAny}, "useroaming": {kind: kindAny}, "usersh": {kind: kindAny},
	"useprivilegedport": {kind: kindAny}, "afstokenpassing": {kind: kindAny}, "kerberosauthentication": {kind: kindAny},
	"kerberostgtpassing": {kind: kindAny}, "rsaauthentication": {kind: kindAny}, "rhostsrsaauthentication": {kind: kindAny},
	"compressionlevel": {kind: kindAny}, "smartcarddevice": {kind: kindAny},
}

// check refuses arguments that OpenSSH refuses.
func (d directive) check(l *configLine) error {
	switch d.kind {
	case kindAny, kindRest:
		return nil
	case kindStrings:
		if len(l.args) == 0 || l.args[0] == "" {
			return l.errorf("%s: missing argument", l.keyword)
		}
		return nil
	}
	if len(l.args) == 0 || l.args[0] == "" {
		return l.errorf("%s: missing argument", l.keyword)
	}
	if len(l.args) > 1 {
		return l.errorf("keyword %s extra arguments at end of line", l.keyword)
	}
	arg := l.args[0]
	switch d.kind {
	case kindEnum:
		for _, w := range strings.Fields(d.words) {
			if strings.EqualFold(w, arg) {
				return nil
			}
		}
		return l.errorf("%s: unsupported option %q", l.keyword, arg)
	case kindInt:
		if _, err := strconv.ParseInt(arg, 10, 32); err != nil {
			return l.errorf("%s: integer value %q invalid", l.keyword, arg)
		}
	case kindPort:
		if _, ok := parsePort(arg); !ok {
			return l.errorf("bad port '%s'", arg)
		}
	case kindTime:
		if _, ok := parseTime(arg); !ok {
			return l.errorf("%s: invalid time value %q", l.keyword, arg)
		}
	}
	return nil
}

func parsePort(s string) (int, bool) {
	if n, err := strconv.ParseUint(s, 10, 16); err == nil && n > 0 {
		return int(n), true
	}
	if s == "" || s[0] >= '0' && s[0] <= '9' || strings.ContainsAny(s, "+- ") {
		return 0, false
	}
	n, err := net.LookupPort("tcp", s)
	return n, err == nil && n > 0
}

// parseTime reads "90", "1m30s", "2h" or "none" (0).
func parseTime(s string) (time.Duration, bool) {
	if s == "none" {
		return 0, true
	}
	var total, n int64
	digits := false
	for i := range len(s) {
		c := s[i]
		if c >= '0' && c <= '9' {
			n, digits = n*10+int64(c-'0'), true
			if n > 1<<31 {
				return 0, false
			}
			continue
		}
		unit := map[byte]int64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}[c|0x20]
		if !digits || unit == 0 {
			return 0, false
		}
		total, n, digits = total+n*unit, 0, false
		if total > 1<<31 {
			return 0, false
		}
	}
	if s == "" {
		return 0, false
	}
	return time.Duration(total+n) * time.Second, total+n <= 1<<31
}
