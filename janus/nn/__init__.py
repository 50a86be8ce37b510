"""Parts of the network: backbone, LoRA, bottleneck adapters, prompts, heads, faster products."""
