package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"stamp/internal/stamp"
)

// growth is one of the numbers that the cost of a stamp may depend on. It is measured in the stamp
// package, without a server, whose own cost of a message hides most of it.
type growth struct {
	title, axis string
	values      []int
	// stamps returns the work on one message, for one of the values.
	stamps func(n int) (*stamp.Stamp, []byte, error)
}

func growths() []growth {
	return []growth{
		{"Stamped headers", "headers, messages without one of their own", []int{1, 2, 4, 8, 16, 32, 48, 64}, func(n int) (*stamp.Stamp, []byte, error) {
			s, err := stamp.Compile(stampHeaders(n), stamp.Options{})
			return s, nil, err
		}},
		{"Headers of the client", "headers, of which none is removed; 4 stamped", []int{0, 1, 5, 10, 20, 30, 40, 50}, func(n int) (*stamp.Stamp, []byte, error) {
			s, err := stamp.Compile(stampHeaders(4), stamp.Options{})
			return s, block(many("X-Client", n)), err
		}},
		{"Protected names", "names, of which every tenth is a pattern; 4 headers of the client, 4 stamped", []int{1, 10, 50, 100, 250, 500, 1000}, func(n int) (*stamp.Stamp, []byte, error) {
			names, err := stamp.NewNameSet(protectedNames(n)...)
			if err != nil {
				return nil, nil, err
			}
			s, err := stamp.Compile(stampHeaders(4), stamp.Options{Strip: []*stamp.NameSet{names}})
			return s, block(many("X-Client", 4)), err
		}},
	}
}

// many are n headers with values of 32 characters.
func many(prefix string, n int) []header {
	all := make([]header, n)
	for i := range all {
		all[i] = header{fmt.Sprintf("%s-%02d", prefix, i), strings.Repeat("v", 32)}
	}
	return all
}

func stampHeaders(n int) []stamp.Header {
	var all []stamp.Header
	for _, h := range many("X-Many", n) {
		all = append(all, stamp.Header{Name: h.name, Values: []string{h.value}})
	}
	return all
}

// protectedNames begin as the client's names do. Each tenth one is a pattern.
func protectedNames(n int) []string {
	all := make([]string, n)
	for i := range all {
		if all[i] = fmt.Sprintf("X-Client-Name-%d", i); i%10 == 9 {
			all[i] += "-*"
		}
	}
	return all
}

// growthArm names the values of one of a growth's numbers. Each is measured twice in a round.
func growthArm(n int, again bool) string {
	if again {
		return fmt.Sprintf("%d again", n)
	}
	return fmt.Sprint(n)
}

func (r *runner) growthRounds(ctx context.Context) error {
	type point struct {
		k      key
		stamp  *stamp.Stamp
		client []byte // block of the client
	}
	var points []point
	for _, g := range growths() {
		for _, n := range g.values {
			s, client, err := g.stamps(n)
			if err != nil {
				return err
			}
			for _, again := range []bool{false, true} {
				points = append(points, point{key{study: g.title, arm: growthArm(n, again)}, s, client})
			}
		}
	}
	for range r.plan.growthRounds {
		for _, p := range shuffled(points) {
			if err := ctx.Err(); err != nil {
				return err
			}
			cost, err := measureStamp(p.stamp, p.client)
			if err != nil {
				return err
			}
			r.res.growth.add(p.k, cost)
		}
	}
	return nil
}

// measureStamp is the time of one message, in ns.
func measureStamp(s *stamp.Stamp, client []byte) (float64, error) {
	const pass, passes = 64, 20
	dst, subj := make([]byte, 0, len(client)+s.MaxLen()), []byte(subject)
	var best time.Duration
	for i := range passes {
		begin := time.Now()
		for range pass {
			if _, err := s.Append(dst, subj, client); err != nil {
				return 0, err
			}
		}
		// A pass that was interrupted does not measure the code.
		if took := time.Since(begin); i == 0 || took < best {
			best = took
		}
	}
	return float64(best) / pass, nil
}
