"""Injected manifests, validated with what their engines say about manifests."""
