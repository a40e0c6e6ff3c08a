package process

import "encoding/binary"

// slab is memory for many small records without a pointer. Records are of any multiple
// of 8 bytes up to slabMost, and known by where they begin, in units of 8 bytes. Byte 0 of
// a record is its size, in the same unit.
type slab struct {
	pages [][]byte
	end   uint32            // of what was ever used
	used  int               // records
	free  [slabSizes]uint32 // chains, by size; 0: none
}

const (
	slabUnit  = 8
	slabPage  = 32 << 10
	slabMost  = 1 << 10
	slabSizes = slabMost/slabUnit + 1
	// slabLimit is how many units there can be.
	slabLimit = 1 << 31
)

// at is a record's memory.
func (s *slab) at(ref uint32) []byte {
	p := s.pages[ref/(slabPage/slabUnit)]
	b := p[ref%(slabPage/slabUnit)*slabUnit:]
	return b[:int(b[0])*slabUnit]
}

// put copies b, whose byte 0 it sets, and tells where. 0 means that there is no room.
func (s *slab) put(b []byte) (ref uint32) {
	units := uint32(len(b)+slabUnit-1) / slabUnit
	if ref = s.free[units]; ref != 0 {
		s.free[units] = binary.LittleEndian.Uint32(s.at(ref)[4:])
	} else {
		const perPage = slabPage / slabUnit
		at := s.end
		if at == 0 || at%perPage+units > perPage || at%perPage == 0 {
			at = uint32(len(s.pages)) * perPage
			if at+perPage >= slabLimit {
				return 0
			}
			s.pages = append(s.pages, make([]byte, slabPage))
			if at == 0 {
				at = 1 // 0 is no record
			}
		}
		ref, s.end = at, at+units
	}
	b[0] = byte(units)
	p := s.pages[ref/(slabPage/slabUnit)]
	copy(p[ref%(slabPage/slabUnit)*slabUnit:], b)
	s.used++
	return ref
}

// drop frees a record.
func (s *slab) drop(ref uint32) {
	b := s.at(ref)
	units := b[0]
	if s.used--; s.used == 0 {
		*s = slab{}
		return
	}
	binary.LittleEndian.PutUint32(b[4:], s.free[units])
	s.free[units] = ref
}
