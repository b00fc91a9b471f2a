package login

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"
)

// A session keeps the notes of maxUses tickets at most. A ticket whose connection comes again is kept longest, and no ticket
// opens two connections.
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
			t.Fatalf("ticket %d on another connection: expected errTicketUsed; found %v", i, err)
		}
		if _, err := u.ticket(made(0), "kept", now); err != nil {
			t.Fatalf("after ticket %d, a renewal by the first one was refused: %v", i, err)
		}
	}
	text, err := json.Marshal(u)
	if err != nil || len(u.Tickets) > maxUses || len(text) > 32<<10 {
		t.Errorf("kept are %d tickets in %d bytes, which is above the bounds; error %v", len(u.Tickets), len(text), err)
	}
}

// The note of a ticket that has not expired is not dropped: the ticket could open a second connection.
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
		t.Errorf("one more ticket than fits: expected errTicketMany; found %v", err)
	}
	for i := range maxUses {
		if _, err := u.ticket(ticket{ID: fmt.Sprint(i), Expires: ends}, "other", now); !errors.Is(err, errTicketUsed) {
			t.Fatalf("ticket %d on another connection: expected errTicketUsed; found %v", i, err)
		}
	}
	later := now.Add(2 * time.Minute)
	if _, err := u.ticket(ticket{ID: "later", Expires: later.Add(time.Second).UnixMilli()}, "conn", later); err != nil {
		t.Errorf("a ticket was refused after the others have expired: %v", err)
	}
	if _, err := u.ticket(ticket{ID: "0", Expires: ends}, "other", later); err == nil {
		t.Error("a ticket that was forgotten opens a connection")
	}
}

// A pass is never accepted with two keys, though few passes are noted.
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
			t.Fatalf("pass %d with another key: expected errOtherKey or errOldPass; found %v", i, err)
		}
	}
	if text, err := json.Marshal(u); err != nil || len(u.Passes) > maxUses || len(text) > 32<<10 {
		t.Errorf("kept are %d passes in %d bytes, which is above the bounds; error %v", len(u.Passes), len(text), err)
	}
}
