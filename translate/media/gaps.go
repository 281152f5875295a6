package media

// window is how many of the newest sequence numbers are remembered: at 20 Mbit/s four seconds of them.
const window = 1 << 13

// gaps finds the sequence numbers that never come. They are counted on from 16 to 64 bits, so that a wrap-around is none.
type gaps struct {
	seen    [window / 64]uint64 // by number modulo window
	started bool
	next    int64 // one after the newest that came
	settled int64 // all before are judged, or were never waited for
	mark    int64 // next at the last settle
	lost    int   // judged since the last settle
}

func (g *gaps) arrive(sequence uint16) {
	if !g.started {
		g.started = true
		g.next, g.settled, g.mark = int64(sequence), int64(sequence), int64(sequence)
	}
	n := g.next + int64(int16(sequence-uint16(g.next)))
	if n < g.settled {
		return // too late, or there already
	}
	for ; g.next <= n; g.next++ {
		if g.next-g.settled >= window {
			g.judge(g.settled + 1)
		}
		g.set(g.next, false)
	}
	g.set(n, true)
}

// judge counts what is missing before the number end.
func (g *gaps) judge(end int64) {
	for ; g.settled < end; g.settled++ {
		if g.seen[g.settled%window/64]>>(g.settled%64)&1 == 0 {
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

func (g *gaps) settle() int {
	g.judge(g.mark)
	g.mark = g.next
	lost := g.lost
	g.lost = 0
	return lost
}
