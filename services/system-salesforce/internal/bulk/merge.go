package bulk

import (
	"errors"
	"io"
)

// merge reads sources that are in order and yields everything in order. A source ends with io.EOF. Of equal elements those of
// earlier sources come first.
func merge[T any](sources []func() (T, error), compare func(a, b T) int, yield func(T) error) error {
	h := heap[T]{compare: compare}
	for i, next := range sources {
		v, err := next()
		if errors.Is(err, io.EOF) {
			continue
		}
		if err != nil {
			return err
		}
		h.items = append(h.items, item[T]{v, i})
	}
	for i := len(h.items)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
	for len(h.items) > 0 {
		top := &h.items[0]
		if err := yield(top.value); err != nil {
			return err
		}
		v, err := sources[top.source]()
		switch {
		case err == nil:
			top.value = v
		case errors.Is(err, io.EOF):
			last := len(h.items) - 1
			h.items[0] = h.items[last]
			h.items = h.items[:last]
		default:
			return err
		}
		h.down(0)
	}
	return nil
}

type item[T any] struct {
	value  T
	source int
}

type heap[T any] struct {
	items   []item[T]
	compare func(a, b T) int
}

func (h *heap[T]) less(a, b int) bool {
	if c := h.compare(h.items[a].value, h.items[b].value); c != 0 {
		return c < 0
	}
	return h.items[a].source < h.items[b].source
}

func (h *heap[T]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			return
		}
		if child+1 < len(h.items) && h.less(child+1, child) {
			child++
		}
		if !h.less(child, i) {
			return
		}
		h.items[i], h.items[child] = h.items[child], h.items[i]
		i = child
	}
}
