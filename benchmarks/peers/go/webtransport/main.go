// webtransport-go: WebTransport over the HTTP/3 of quic-go.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"

	"peers/peer"
)

type conn struct{ *webtransport.Session }

func (c conn) Open(ctx context.Context) (peer.Stream, error) { return c.OpenStreamSync(ctx) }

func (c conn) Accept(ctx context.Context) (peer.Stream, error) { return c.AcceptStream(ctx) }

func (c conn) Close() { c.CloseWithError(0, "") }

func serve(certificate tls.Certificate, ready func(int), handle func(peer.Conn)) error {
	mux := http.NewServeMux()
	settings := &tls.Config{Certificates: []tls.Certificate{certificate}}
	h3 := &http3.Server{Handler: mux, TLSConfig: http3.ConfigureTLSConfig(settings)}
	webtransport.ConfigureHTTP3Server(h3)
	server := &webtransport.Server{H3: h3}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		session, err := server.Upgrade(w, r)
		if err != nil {
			log.Print(err)
			return
		}
		handle(conn{session})
	})
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	ready(socket.LocalAddr().(*net.UDPAddr).Port)
	return server.Serve(socket)
}

var transport = webtransport.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}

func dial(port int) (peer.Conn, error) {
	url := fmt.Sprintf("https://127.0.0.1:%d/", port)
	_, session, err := transport.Dial(context.Background(), url, nil)
	if err != nil {
		return nil, err
	}
	return conn{session}, nil
}

func main() {
	peer.Main(peer.Stack{
		Module: "github.com/quic-go/webtransport-go", Serve: serve, Dial: dial,
	})
}
