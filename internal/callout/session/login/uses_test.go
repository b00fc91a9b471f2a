package login

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"
)

// Whatever a session uses, no more than maxUses are kept, what opened a connection that comes again is kept longest, and
// no ticket opens two.
func TestUsedTicketsAreBounded(t *testing.T) {
	var u uses
	now := time.Now()
	made := func(i int) ticket {
		return ticket{ID: fmt.Sprint(i), Expires: now.Add(time.Duration(i+1) * time.Second).UnixMilli()}
	}
	if changed, err := u.ticket(made(0), "kept", now); !changed || err != nil {
		t.Fatal(changed, err)
	}
	for i := 1; i < 20*maxUses; i++ {
		now = now.Add(time.Second)
		fresh := ticket{ID: fmt.Sprint(i), Expires: now.Add(time.Second).UnixMilli()}
		if changed, err := u.ticket(fresh, "conn", now); !changed || err != nil {
			t.Fatal(i, changed, err)
		}
		if _, err := u.ticket(fresh, "other", now); !errors.Is(err, errTicketUsed) {
			t.Fatalf("%d: a replay: %v", i, err)
		}
		if _, err := u.ticket(made(0), "kept", now); err != nil {
			t.Fatalf("%d: a renewal: %v", i, err)
		}
	}
	text, err := json.Marshal(u)
	if err != nil || len(u.Tickets) > maxUses || len(text) > 32<<10 {
		t.Errorf("%d tickets, %d bytes, %v", len(u.Tickets), len(text), err)
	}
}

// What has not expired is not dropped: it could open a second connection.
func TestTicketsThatAreGoodAreNotForgotten(t *testing.T) {
	var u uses
	now := time.Now()
	ends := now.Add(time.Minute).UnixMilli()
	for i := range maxUses {
		if _, err := u.ticket(ticket{ID: fmt.Sprint(i), Expires: ends}, "conn", now); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := u.ticket(ticket{ID: "more", Expires: ends}, "conn", now); !errors.Is(err, errTicketMany) {
		t.Errorf("one more: %v", err)
	}
	for i := range maxUses {
		if _, err := u.ticket(ticket{ID: fmt.Sprint(i), Expires: ends}, "other", now); !errors.Is(err, errTicketUsed) {
			t.Fatalf("%d: a replay: %v", i, err)
		}
	}
	later := now.Add(2 * time.Minute)
	if _, err := u.ticket(ticket{ID: "later", Expires: later.Add(time.Second).UnixMilli()}, "conn", later); err != nil {
		t.Errorf("when they have expired: %v", err)
	}
	if _, err := u.ticket(ticket{ID: "0", Expires: ends}, "other", later); err == nil {
		t.Error("one that was forgotten opens a connection")
	}
}

// A pass is never good for two keys, though few are kept.
func TestPassesAreBounded(t *testing.T) {
	var u uses
	for i := range int64(20 * maxUses) {
		p := pass{ID: fmt.Sprint(i), Made: i + 1}
		if changed, err := u.pass(p, "key"); !changed || err != nil {
			t.Fatal(i, changed, err)
		}
		if i%10 == 0 {
			if _, err := u.pass(pass{ID: "0", Made: 1}, "key"); err != nil { // a worker that lives
				t.Fatal(i, err)
			}
		}
	}
	for i := range int64(20 * maxUses) {
		if _, err := u.pass(pass{ID: fmt.Sprint(i), Made: i + 1}, "other"); !errors.Is(err, errOtherKey) && !errors.Is(err, errOldPass) {
			t.Fatalf("pass %d with another key: %v", i, err)
		}
	}
	if text, err := json.Marshal(u); err != nil || len(u.Passes) > maxUses || len(text) > 32<<10 {
		t.Errorf("%d passes, %d bytes, %v", len(u.Passes), len(text), err)
	}
}
