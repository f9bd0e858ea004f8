package suite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// control is the suite's control API: that of the fault proxy, and
//
//	GET  /instance                    {"instance": id}: which demo this is
//	POST /services/{name}/kill        SIGKILL; only with a process per service
//	POST /services/{name}/stop        stops it in order
//	POST /services/{name}/start       starts it again
func (s *Suite) control() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", s.proxy.Control())
	mux.HandleFunc("GET /instance", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{"instance": s.state.Instance})
	})
	mux.HandleFunc("POST /services/{name}/{what}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		var err error
		switch r.PathValue("what") {
		case "kill":
			err = s.Kill(name)
		case "stop":
			err = s.StopService(name)
		case "start":
			err = s.StartService(r.Context(), name)
		default:
			reply(w, http.StatusNotFound, map[string]string{"error": "the switches are kill, stop and start"})
			return
		}
		switch {
		case errors.Is(err, ErrNoService):
			reply(w, http.StatusNotFound, map[string]string{"error": err.Error()})
		case err != nil:
			reply(w, http.StatusConflict, map[string]string{"error": err.Error()})
		default:
			reply(w, http.StatusOK, map[string]any{"pids": s.State().PIDs})
		}
	})
	return mux
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// The client may have gone away; there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(v)
}

// put sends JSON and expects success.
func (s *Suite) put(ctx context.Context, url, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("PUT %s answered %s", url, res.Status)
	}
	return nil
}
