"""mgral: which images should we annotate next?"""
