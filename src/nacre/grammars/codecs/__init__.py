"""What `grammars.codec` opens the door to: members and frames to read, blocks to write."""
