package media

// bitReader reads big-endian bits. After the end of the data it returns zeros and sets short.
type bitReader struct {
	data    []byte
	escaped bool // a 3 after two zeros is not data (ITU-T H.264 §7.4.1.1)
	short   bool

	zeros int // number of zero bytes just read
	used  int // bits of data[0]
}

func (r *bitReader) bits(n int) uint32 {
	var v uint32
	for range n {
		v = v<<1 | r.bit()
	}
	return v
}

func (r *bitReader) bit() uint32 {
	if r.used == 0 && r.escaped && r.zeros == 2 && len(r.data) > 0 && r.data[0] == 3 {
		r.data, r.zeros = r.data[1:], 0
	}
	if len(r.data) == 0 {
		r.short = true
		return 0
	}
	b := uint32(r.data[0]) >> (7 - r.used) & 1
	if r.used++; r.used == 8 {
		if r.data[0] == 0 {
			r.zeros++
		} else {
			r.zeros = 0
		}
		r.data, r.used = r.data[1:], 0
	}
	return b
}

// ue reads an unsigned Exp-Golomb number (ITU-T H.264 §9.1).
func (r *bitReader) ue() uint32 {
	zeros := 0
	for r.bit() == 0 {
		if zeros++; zeros > 31 || r.short {
			r.short = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.bits(zeros)
}

// se reads a signed Exp-Golomb number (§9.1.1).
func (r *bitReader) se() int32 {
	v := r.ue()
	if v&1 == 0 {
		return -int32(v / 2)
	}
	return int32(v/2) + 1
}
