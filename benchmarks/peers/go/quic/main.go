// quic-go: streams and datagrams of QUIC itself.
package main

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"

	"github.com/quic-go/quic-go"

	"peers/peer"
)

var config = &quic.Config{EnableDatagrams: true}

type conn struct{ *quic.Conn }

func (c conn) Open(ctx context.Context) (peer.Stream, error) { return c.OpenStreamSync(ctx) }

func (c conn) Accept(ctx context.Context) (peer.Stream, error) { return c.AcceptStream(ctx) }

func (c conn) Close() { c.CloseWithError(0, "") }

func serve(certificate tls.Certificate, ready func(int), handle func(peer.Conn)) error {
	settings := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"bench"}}
	listener, err := quic.ListenAddr("127.0.0.1:0", settings, config)
	if err != nil {
		return err
	}
	ready(listener.Addr().(*net.UDPAddr).Port)
	for {
		accepted, err := listener.Accept(context.Background())
		if err != nil {
			return err
		}
		go handle(conn{accepted})
	}
}

func dial(port int) (peer.Conn, error) {
	settings := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"bench"}}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	dialed, err := quic.DialAddr(context.Background(), address, settings, config)
	if err != nil {
		return nil, err
	}
	return conn{dialed}, nil
}

func main() {
	peer.Main(peer.Stack{Module: "github.com/quic-go/quic-go", Serve: serve, Dial: dial})
}
