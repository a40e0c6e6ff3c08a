package journal

import (
	"fmt"
	"sync"
)

// ChunkSize is the unit in which memory grows, in bytes.
const ChunkSize = 64 << 10

// Memory is the contents of a file, in chunks that never move once they are
// there. Its methods may be called while others read and write the chunks.
type Memory interface {
	// Chunks is the number of chunks.
	Chunks() int
	// Chunk is the i-th, ChunkSize bytes that begin at a multiple of 8.
	Chunk(i int) []byte
	// Grow adds a chunk of zeros, or fails when there is no room.
	Grow() error
}

// Plain is memory without a file, for tests and simulations.
type Plain struct {
	mu     sync.Mutex
	chunks [][]byte
	limit  int
}

// NewMemory makes empty memory without a limit.
func NewMemory() *Plain { return &Plain{limit: -1} }

// NewBoundedMemory makes empty memory for at most limit chunks.
func NewBoundedMemory(limit int) *Plain { return &Plain{limit: limit} }

// Chunks implements Memory.
func (m *Plain) Chunks() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.chunks)
}

// Chunk implements Memory.
func (m *Plain) Chunk(i int) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.chunks[i]
}

// Grow implements Memory.
func (m *Plain) Grow() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.chunks) == m.limit {
		return fmt.Errorf("journal: no room for more than %d chunks", m.limit)
	}
	m.chunks = append(m.chunks, make([]byte, ChunkSize))
	return nil
}

// Clone copies the contents: what is left when the writer is killed now.
func (m *Plain) Clone() *Plain {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &Plain{limit: m.limit}
	for _, b := range m.chunks {
		c.chunks = append(c.chunks, append([]byte(nil), b...))
	}
	return c
}
