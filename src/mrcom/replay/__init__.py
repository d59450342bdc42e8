"""What has been seen: episodes per scenario, the windows and the prompts cut from them."""
