package rest

import (
	"encoding/json"
	"net/http"
	"strings"
)

// The limits of a graph request.
const (
	firstGraph      = 50 // the version since which there are graphs
	maxGraphs       = 75
	maxGraphNodes   = 500
	maxGraphKinds   = 15
	maxGraphDepth   = 15
	maxFailedGraphs = 14
)

type graph struct {
	ID    string `json:"graphId"`
	Parts []part `json:"compositeRequest"`
}

// graphs serves POST /composite/graph: composite requests that are all or none
// each, and independent of each other.
func (c *call) graphs() *answer {
	var in struct {
		Graphs []graph `json:"graphs"`
	}
	if a := c.body(&in); a != nil {
		return a
	}
	if code, message := checkGraphs(in.Graphs); code != "" {
		return fail(http.StatusBadRequest, code, message)
	}
	type response struct {
		Parts []*partResult `json:"compositeResponse"`
	}
	type result struct {
		ID       string   `json:"graphId"`
		Response response `json:"graphResponse"`
		OK       bool     `json:"isSuccessful"`
	}
	results := make([]result, len(in.Graphs))
	failed := 0
	for i, g := range in.Graphs {
		var parts []*partResult
		var ok bool
		if failed < maxFailedGraphs {
			parts, ok = c.together(g.Parts, rowResource)
		} else {
			for j := range g.Parts {
				parts = append(parts, asPart(&g.Parts[j].ReferenceID, halted()))
			}
		}
		if !ok {
			failed++
		}
		results[i] = result{g.ID, response{parts}, ok}
	}
	return reply(http.StatusOK, map[string]any{"graphs": results})
}

func checkGraphs(graphs []graph) (code, message string) {
	nodes, kinds, seen := 0, map[string]bool{}, map[string]bool{}
	for _, g := range graphs {
		switch {
		case g.ID == "":
			return "MISSING_ARGUMENT", "Every graph needs a graphId."
		case seen[g.ID]:
			return "INVALID_INPUT", "Duplicate graph ID: " + g.ID
		}
		seen[g.ID] = true
		if code, message := checkParts(g.Parts); code != "" {
			return code, message
		}
		if depth(g.Parts) > maxGraphDepth {
			return "LIMIT_EXCEEDED", "A graph can’t be deeper than 15."
		}
		nodes += len(g.Parts)
		for _, p := range g.Parts {
			if version, seg, _, ok := target(p.URL); ok && len(seg) > 1 {
				kinds[version+" "+strings.ToLower(seg[1])] = true
			}
		}
	}
	switch {
	case len(graphs) == 0:
		return "MISSING_ARGUMENT", "The graphs are required."
	case len(graphs) > maxGraphs:
		return "LIMIT_EXCEEDED", "The request can’t contain more than 75 graphs."
	case nodes > maxGraphNodes:
		return "LIMIT_EXCEEDED", "The request can’t contain more than 500 nodes."
	case len(kinds) > maxGraphKinds:
		return "LIMIT_EXCEEDED", "The request can’t contain more than 15 kinds of nodes."
	}
	return "", ""
}

// depth is the length of the longest chain of references.
func depth(parts []part) int {
	levels := map[string]int{}
	deepest := 0
	for _, p := range parts {
		body, _ := json.Marshal(p.Body) // it was decoded from JSON
		own := 1
		for _, m := range reference.FindAllStringSubmatch(p.URL+string(body), -1) {
			own = max(own, levels[m[1]]+1)
		}
		levels[p.ReferenceID] = own
		deepest = max(deepest, own)
	}
	return deepest
}
