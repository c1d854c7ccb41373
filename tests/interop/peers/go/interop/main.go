// quic-go: HTTP/0.9 and HTTP/3 for tests/interop/runner, whose peers.py has the contract.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

const (
	module = "github.com/quic-go/quic-go"
	alpn   = "hq-interop"
	atOnce = 200
)

var errUnsupported = errors.New("not supported")

func main() {
	var err error
	switch os.Getenv("ROLE") {
	case "version":
		fmt.Println(version())
	case "server":
		err = server(os.Getenv("TESTCASE"))
	case "client":
		err = client(os.Getenv("TESTCASE"))
	default:
		err = errors.New("ROLE is server or client")
	}
	switch {
	case errors.Is(err, errUnsupported):
		os.Exit(127)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range info.Deps {
			if dependency.Path == module {
				return dependency.Version[1:]
			}
		}
	}
	return "unknown"
}

func keyLog() (io.Writer, error) {
	name := os.Getenv("SSLKEYLOGFILE")
	if name == "" {
		return nil, nil
	}
	return os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

func config(early bool) *quic.Config {
	return &quic.Config{Allow0RTT: early, HandshakeIdleTimeout: 60 * time.Second}
}

// Server

func server(name string) error {
	switch name {
	case "handshake", "transfer", "chacha20", "retry", "resumption", "zerortt", "multiconnect",
		"http3", "ecn", "keyupdate", "versionnegotiation":
	default:
		return errUnsupported
	}
	certs := os.Getenv("CERTS")
	certificate, err := tls.LoadX509KeyPair(certs+"/cert.pem", certs+"/priv.key")
	if err != nil {
		return err
	}
	log, err := keyLog()
	if err != nil {
		return err
	}
	settings := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{alpn}, KeyLogWriter: log}
	port, err := strconv.Atoi(os.Getenv("PORT"))
	if err != nil {
		return err
	}
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(os.Getenv("HOST")), Port: port})
	if err != nil {
		return err
	}
	fmt.Println("listening on UDP port", port)
	if name == "http3" {
		files := http.FileServer(http.Dir(os.Getenv("WWW")))
		settings.NextProtos = []string{http3.NextProtoH3}
		return (&http3.Server{TLSConfig: settings, QUICConfig: config(false), Handler: files}).Serve(socket)
	}
	transport := &quic.Transport{
		Conn:                socket,
		VerifySourceAddress: func(net.Addr) bool { return name == "retry" },
	}
	listener, err := transport.ListenEarly(settings, config(name == "zerortt"))
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept(context.Background())
		if err != nil {
			return err
		}
		go serve(conn)
	}
}

func serve(conn *quic.Conn) {
	for {
		stream, err := conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		go answer(stream)
	}
}

func answer(stream *quic.Stream) {
	line, _ := bufio.NewReader(io.LimitReader(stream, 8192)).ReadString('\n')
	words := strings.Fields(line)
	if len(words) < 2 || words[0] != "GET" {
		stream.CancelWrite(1)
		return
	}
	file, err := os.Open(filepath.Join(os.Getenv("WWW"), path.Clean("/"+words[1])))
	if err != nil {
		stream.CancelWrite(1)
		return
	}
	defer file.Close()
	if _, err := io.Copy(stream, file); err == nil {
		stream.Close()
	}
}

// Client

func client(name string) error {
	log, err := keyLog()
	if err != nil {
		return err
	}
	settings := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}, KeyLogWriter: log}
	urls := strings.Fields(os.Getenv("REQUESTS"))
	switch name {
	// Without being asked, quic-go updates its keys after 100 packets.
	case "handshake", "transfer", "retry", "ecn", "keyupdate":
		return fetch(settings, urls, false, nil)
	case "multiconnect":
		for _, each := range urls {
			if err := fetch(settings, []string{each}, false, nil); err != nil {
				return err
			}
		}
		return nil
	case "resumption", "zerortt":
		cache := &notifying{tls.NewLRUClientSessionCache(1), make(chan struct{}, 100)}
		settings.ClientSessionCache = cache
		if err := fetch(settings, urls[:1], false, cache.put); err != nil {
			return err
		}
		return fetch(settings, urls[1:], name == "zerortt", nil)
	case "http3":
		return fetchHTTP3(settings, urls)
	}
	return errUnsupported
}

// notifying tells when a session came.
type notifying struct {
	tls.ClientSessionCache
	put chan struct{}
}

func (n *notifying) Put(key string, state *tls.ClientSessionState) {
	n.ClientSessionCache.Put(key, state)
	select {
	case n.put <- struct{}{}:
	default:
	}
}

// fetch gets all urls on one connection, and then waits for session if that is not nil.
func fetch(settings *tls.Config, urls []string, early bool, session chan struct{}) error {
	first, err := url.Parse(urls[0])
	if err != nil {
		return err
	}
	conn, err := quic.DialAddrEarly(context.Background(), first.Host, settings, config(false))
	if err != nil {
		return err
	}
	defer conn.CloseWithError(0, "")
	if !early {
		select {
		case <-conn.HandshakeComplete():
		case <-conn.Context().Done():
			return context.Cause(conn.Context())
		}
	}
	err = each(urls, func(target *url.URL) error {
		stream, err := conn.OpenStreamSync(context.Background())
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(stream, "GET %s\r\n", target.Path); err != nil {
			return err
		}
		stream.Close()
		return save(target, stream)
	})
	if err != nil || session == nil {
		return err
	}
	select {
	case <-session:
		return nil
	case <-time.After(10 * time.Second):
		return errors.New("no session came")
	}
}

func fetchHTTP3(settings *tls.Config, urls []string) error {
	settings.NextProtos = []string{http3.NextProtoH3}
	transport := &http3.Transport{TLSClientConfig: settings, QUICConfig: config(false)}
	defer transport.Close()
	return each(urls, func(target *url.URL) error {
		response, err := (&http.Client{Transport: transport}).Get(target.String())
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return save(target, response.Body)
	})
}

func save(target *url.URL, content io.Reader) error {
	file, err := os.Create(filepath.Join(os.Getenv("DOWNLOADS"), path.Base(target.Path)))
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(file, content)
	return err
}

// each calls function for every url, many at once.
func each(urls []string, function func(*url.URL) error) error {
	var group sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	failed := make(chan error, len(urls))
	for _, text := range urls {
		target, err := url.Parse(text)
		if err != nil {
			return err
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if err := function(target); err != nil {
				failed <- err
			}
		})
	}
	group.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}
