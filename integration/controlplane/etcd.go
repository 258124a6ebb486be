package main

import (
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
)

// startTimeout bounds the start of etcd.
const startTimeout = time.Minute

func etcdCommand() *cobra.Command {
	var dir, client, peer string
	c := &cobra.Command{
		Use: "etcd", Short: "Keep the objects", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return runEtcd(dir, client, peer) },
	}
	c.Flags().StringVar(&dir, "dir", "", "directory of the data")
	c.Flags().StringVar(&client, "client", "", "URL for clients, on a loopback address")
	c.Flags().StringVar(&peer, "peer", "", "URL for other members, of which there are none")
	return c
}

func runEtcd(dir, client, peer string) error {
	clientURL, err := url.Parse(client)
	if err != nil {
		return fmt.Errorf("parse client URL: %w", err)
	}
	peerURL, err := url.Parse(peer)
	if err != nil {
		return fmt.Errorf("parse peer URL: %w", err)
	}
	cfg := embed.NewConfig()
	cfg.Dir, cfg.LogLevel = dir, "error"
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*clientURL}, []url.URL{*clientURL}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*peerURL}, []url.URL{*peerURL}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.UnsafeNoFsync = true // what a test stores need not outlive the machine
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	defer e.Close()
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		return err
	case <-time.After(startTimeout):
		return fmt.Errorf("etcd was not ready within %s", startTimeout)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	select {
	case <-stop:
		return nil
	case err := <-e.Err():
		return err
	}
}
