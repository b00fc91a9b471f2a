package conf

import "crypto/tls"

// KeyPair is a certificate and its key, as paths of PEM files. Both fields are set, or neither.
type KeyPair struct {
	Cert string `conf:"cert"`
	Key  string `conf:"key"` // private key of Cert
}

// TLSFiles are the files of the block tls of a client.
type TLSFiles struct {
	CA      string `conf:"ca"` // certificates that sign the server's certificate; default: those of the system
	KeyPair        // of this client; default: none
}

// TLS is the block tls of a client whose server may have another name in its certificate than in its URL.
type TLS struct {
	TLSFiles
	ServerName string `conf:"server_name"` // default: the host of the URL
}

// Config returns the configuration with the content of the files. It is nil, for Go's
// defaults, if t is nil. n is the block of t; faults of the files are added to faults.
func (t *TLS) Config(n Node, faults *Faults) *tls.Config {
	if t == nil {
		return nil
	}
	cfg := t.TLSFiles.Config(n, faults)
	cfg.ServerName = t.ServerName
	return cfg
}

// Config is the same for a block without server_name.
func (t *TLSFiles) Config(n Node, faults *Faults) *tls.Config {
	if t == nil {
		return nil
	}
	cfg := t.KeyPair.Config(n, faults)
	if t.CA != "" {
		var err error
		if cfg.RootCAs, err = LoadCertPool(t.CA); err != nil {
			faults.Add(n.Get("ca"), "tls: ca: %v", err)
		}
	}
	return cfg
}

// Config is the same for a block that has cert and key alone, such as that of a listener.
func (p *KeyPair) Config(n Node, faults *Faults) *tls.Config {
	if p == nil {
		return nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	switch {
	case (p.Cert == "") != (p.Key == ""):
		faults.Add(n, "tls: expected both cert and key, or neither; found one")
	case p.Cert != "":
		pair, err := LoadKeyPair(p.Cert, p.Key)
		if err != nil {
			faults.Add(n.Get("cert"), "tls: cert and key: %v", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg
}
