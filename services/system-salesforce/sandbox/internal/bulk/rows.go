package bulk

// rows are some records of a batch, and where those after them begin.
type rows struct {
	records []record
	next    int64
	last    bool
}

// stream lets the batch read its rows from the data as it needs them. With
// readAhead those of the next transaction are read while one is under way, and the
// batch has to be closed.
func (b *batch) stream(data *blob, delim byte, ending string, readAhead bool) {
	var in *csvReader // made when the batch has its turn: it has a buffer
	at := b.span.from
	some := func(n int) rows {
		if in == nil {
			in = newCSV(data.section(at, b.span.to), at, delim, ending)
		}
		out := rows{records: make([]record, 0, n)}
		for len(out.records) < n {
			r, err := in.read()
			if err != nil { // the end: everything else was found before
				in, at, out.last = nil, b.span.to, true
				break
			}
			out.records, at = append(out.records, b.fill(r)), r.end
		}
		out.next = at
		return out
	}
	var ahead chan rows
	b.close = func() {
		if ahead != nil {
			<-ahead
		}
	}
	b.read = func(n int) []record {
		var got rows
		if ahead == nil {
			got = some(n)
		} else {
			got = <-ahead
		}
		b.next, ahead = got.next, nil
		switch {
		case got.last:
			b.read = func(int) []record { return nil }
			return got.records
		case !readAhead:
			return got.records
		}
		next := make(chan rows, 1)
		ahead = next
		go func() { next <- some(n) }()
		return got.records
	}
}
