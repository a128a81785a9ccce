package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/state/disk/wholefile"
)

// How long certificates are valid. An agent renews when a third is left.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	AgentLife     = 30 * 24 * time.Hour
	UserLife      = 90 * 24 * time.Hour
	PeerLife      = 24 * time.Hour
	serverLife    = 24 * time.Hour

	// tolerance is how far the clocks of two machines may be apart.
	tolerance = time.Hour
	// mintEvery is how long a server certificate is used; see ClockOf.
	mintEvery = time.Minute
)

// Authority signs the certificates of one master.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	now  func() time.Time

	mu     sync.Mutex
	server *tls.Certificate
	minted time.Time
}

// OpenAuthority reads the authority in dir, and makes one where there is none.
// now is the clock; nil: the system's.
func OpenAuthority(dir string, now func() time.Time) (*Authority, error) {
	if now == nil {
		now = time.Now
	}
	certFile, keyFile := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	_, err := os.Stat(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(certFile); err == nil {
			return nil, fmt.Errorf("%s is there without %s: restore the key from a backup, or move the folder away and enrol all agents again", certFile, keyFile)
		}
		if err := createAuthority(certFile, keyFile, now()); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	pair, err := ReadPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("%s is no authority", certFile)
	}
	return &Authority{cert: pair.Leaf, key: signer, now: now}, nil
}

func createAuthority(certFile, keyFile string, now time.Time) error {
	key, err := NewKey()
	if err != nil {
		return err
	}
	serial, err := newSerial()
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "sloth master"}, NotBefore: now.Add(-tolerance), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	text, err := EncodeKey(key)
	if err != nil {
		return err
	}
	if err := wholefile.Write(keyFile, text); err != nil {
		return err
	}
	return wholefile.Write(certFile, EncodeCert(der))
}

// Certificate is the authority's own, DER.
func (a *Authority) Certificate() []byte { return a.cert.Raw }

// Root is the authority's own certificate.
func (a *Authority) Root() (*x509.Certificate, error) { return x509.ParseCertificate(a.cert.Raw) }

// Fingerprint is that of the authority's key: what a join token carries.
func (a *Authority) Fingerprint() string { return KeyOf(a.cert) }

// Pool holds the authority.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// Issue signs a certificate for the key of csr (DER). Nothing but the key is
// taken from the request.
func (a *Authority) Issue(csr []byte, id Identity, life time.Duration) (der []byte, err error) {
	req, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, fmt.Errorf("read the certificate request: %w", err)
	}
	if err := req.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the certificate request is not signed by its key: %w", err)
	}
	if k, ok := req.PublicKey.(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P256() {
		return nil, errors.New("the key is no ECDSA key on P-256")
	}
	if err := CheckName(id.Name); err != nil {
		return nil, err
	}
	return a.sign(req.PublicKey, id, life, x509.ExtKeyUsageClientAuth)
}

func (a *Authority) sign(key crypto.PublicKey, id Identity, life time.Duration, usage x509.ExtKeyUsage) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := a.now()
	return x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: id.Kind + " " + id.Name}, URIs: []*url.URL{id.uri()},
		NotBefore: now.Add(-tolerance), NotAfter: now.Add(life), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}, a.cert, key, a.key)
}

// Server is the certificate that the master shows. It is made anew all the
// time, so that it tells those who can't verify it by their clock what the
// master's is.
func (a *Authority) Server() (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if a.server != nil && now.Sub(a.minted).Abs() < mintEvery {
		return a.server, nil
	}
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	der, err := a.sign(key.Public(), Identity{Kind: KindMaster, Name: "master"}, serverLife, x509.ExtKeyUsageServerAuth)
	if err != nil {
		return nil, err
	}
	a.server, a.minted = &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}, now
	return a.server, nil
}

// Peer is a certificate with which one master calls another.
func (a *Authority) Peer(name string) (*tls.Certificate, error) {
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	der, err := a.sign(key.Public(), Identity{Kind: KindMaster, Name: name}, PeerLife, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// Secret is known to those alone who have the authority's key, and another one
// for each purpose: 32 bytes.
func (a *Authority) Secret(purpose string) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, err
	}
	return hkdf.Key(sha256.New, der, nil, "sloth "+purpose, 32)
}

// ClockOf is what a master's clock said when it made its certificate, which is
// at most a minute ago.
func ClockOf(server *x509.Certificate) time.Time { return server.NotBefore.Add(tolerance) }

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
}

// NewKey makes a key for a certificate.
func NewKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// Request is a certificate request (DER) for key.
func Request(key crypto.Signer) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
}

// EncodeCert is a certificate as PEM.
func EncodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// EncodeKey is a private key as PEM.
func EncodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
