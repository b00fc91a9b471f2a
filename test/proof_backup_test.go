package test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats.go/jetstream"
	stamp "stamp.example/receivers/go"

	"stamp/test/harness"
)

// A stream is backed up, messages are edited by hand in the backup, with the right checksums, and it is restored on another
// server. JetStream delivers all messages, and a receiver accepts only those that nobody has edited.
func TestProofOfAStreamThatWasEdited(t *testing.T) {
	keys, file := proofKeys(t)
	conf := func(dir string) string {
		accounts := proofConf(file, fmt.Sprintf(`receivers: {"*": %q}, encrypt: [Session]`, keys.Receiver), "")
		return fmt.Sprintf("jetstream { store_dir: %q, sync_interval: always }\n", dir) + strings.Replace(accounts, "APP {", "APP { jetstream: enabled,", 1)
	}
	dir, backup := t.TempDir(), t.TempDir()
	s := harness.Start(t, conf(dir))
	js := newJetStream(t, s.Connect(t, userInfo("alice")))
	mustStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"orders.>"}})
	edits := map[string][2]string{
		"as it was":         {},
		"the user":          {"X-User: alice", "X-User: admin"},
		"the payload":       {"amount-00010", "amount-99999"},
		"the subject":       {"Stamp-Subject: orders.2", "Stamp-Subject: orders.1"},
		"the time":          {"Stamp-Time: 2", "Stamp-Time: 3"},
		"the account":       {"Stamp-Account: APP", "Stamp-Account: OPS"},
		"a value of a list": {"Roles: ops", "Roles: dba"},
	}
	var order []string
	for name := range edits {
		order = append(order, name)
		if _, err := js.Publish(t.Context(), "orders.2", []byte("amount-00010")); err != nil {
			t.Fatal(err)
		}
	}
	s.Signal(t, syscall.SIGINT)
	s.Exit(t)
	if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	blocks, err := filepath.Glob(filepath.Join(backup, "jetstream", "APP", "streams", "S", "msgs", "1.blk"))
	if err != nil || len(blocks) != 1 {
		t.Fatalf("expected one block of messages in the backup; found %q, error %v", blocks, err)
	}
	editBlock(t, blocks[0], "S-1", func(sequence uint64, record []byte) []byte {
		edit := edits[order[sequence-1]]
		if edit[0] != "" && !bytes.Contains(record, []byte(edit[0])) {
			t.Fatalf("%s: the record to be edited lacks %q", order[sequence-1], edit[0])
		}
		return bytes.Replace(record, []byte(edit[0]), []byte(edit[1]), 1)
	})

	s = harness.Start(t, conf(backup))
	trust, err := stamp.NewTrust(stamp.Options{
		User: "X-User", One: []string{"Session"}, Many: []string{"Roles"}, Accounts: map[string][]string{"APP": {"orders.>"}, "OPS": {"orders.>"}},
		Servers: []string{keys.ServerX}, Keys: []string{keys.ReceiverSeed},
	})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := newJetStream(t, s.Connect(t, userInfo("alice"))).Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range order {
		ctx, cancel := context.WithTimeout(t.Context(), harness.Timeout)
		m, err := stream.GetMsg(ctx, uint64(i+1))
		cancel()
		if err != nil {
			t.Fatalf("cannot read the message %q from the restored stream: %v", name, err)
		}
		if name == "the user" && m.Header.Get("X-User") != "admin" || name == "the payload" && string(m.Data) != "amount-99999" {
			t.Errorf("%s: the edit is not delivered", name)
		}
		id, err := stamp.Identify(stamp.Message{Header: m.Header, Payload: m.Data}, trust)
		if taken := err == nil; taken != (edits[name][0] == "") || taken && (id.User != "alice" || id.Value("Session") != "0af3-secret") {
			t.Errorf("%s: expected the receiver to take the message only if nobody edited it; found user %q, error %v", name, id.User, err)
		}
	}
}

// editBlock changes the records of a block of a file store (upstream, filestore.go, writeMsgRecordLocked), and corrects their
// checksums. A change must not change a record's length.
func editBlock(t *testing.T, file, hashKey string, edit func(sequence uint64, record []byte) []byte) {
	t.Helper()
	const head, sum, headers = 22, 8, 1 << 31
	block, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	key := sha256.Sum256([]byte(hashKey))
	hash, err := highwayhash.New64(key[:])
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(block); {
		length := int(binary.LittleEndian.Uint32(block[at:]) &^ headers)
		record := block[at : at+length]
		edited := edit(binary.LittleEndian.Uint64(record[4:]), record[head:length-sum])
		copy(record[head:], edited)
		subject := int(binary.LittleEndian.Uint16(record[20:]))
		hash.Reset()
		for _, part := range [][]byte{record[4:20], record[head : head+subject], record[head+subject+4 : length-sum]} {
			_, _ = hash.Write(part)
		}
		copy(record[length-sum:], hash.Sum(nil))
		at += length
	}
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
}
