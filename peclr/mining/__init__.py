"""Similar hands: 2-D joints → normalised → PCA → nearest neighbours (SiMHand, Lin et al., ICLR 2025, Sec. 3.2)."""
