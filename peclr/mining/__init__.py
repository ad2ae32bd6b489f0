"""Similar hands: 2-D joints → normalized → PCA → nearest neighbors (SiMHand, Lin et al., ICLR 2025, Sec. 3.2)."""
