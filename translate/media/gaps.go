package media

// window is the number of newest sequence numbers that are tracked: four seconds of them at 20 Mbit/s.
const window = 1 << 13

// gaps finds the sequence numbers that never arrive. They are extended from 16 to 64 bits, so that a
// wrap-around is not a gap.
type gaps struct {
	seen    [window / 64]uint64 // by number modulo window
	started bool
	next    int64 // one after the newest that arrived
	judged  int64 // the numbers before are judged, or were never expected
	mark    int64 // next at the last takeLost
	lost    int   // found since the last takeLost
}

func (g *gaps) arrive(sequence uint16) {
	if !g.started {
		g.started = true
		g.next, g.judged, g.mark = int64(sequence), int64(sequence), int64(sequence)
	}
	n := g.next + int64(int16(sequence-uint16(g.next)))
	if n < g.judged {
		return // too late, or a duplicate
	}
	for ; g.next <= n; g.next++ {
		if g.next-g.judged >= window {
			g.judge(g.judged + 1)
		}
		g.set(g.next, false)
	}
	g.set(n, true)
}

// judge counts the numbers missing before end.
func (g *gaps) judge(end int64) {
	for ; g.judged < end; g.judged++ {
		if g.seen[g.judged%window/64]>>(g.judged%64)&1 == 0 {
			g.lost++
		}
	}
}

func (g *gaps) set(n int64, seen bool) {
	word, bit := &g.seen[n%window/64], uint64(1)<<(n%64)
	*word &^= bit
	if seen {
		*word |= bit
	}
}

func (g *gaps) takeLost() int {
	g.judge(g.mark)
	g.mark = g.next
	lost := g.lost
	g.lost = 0
	return lost
}
