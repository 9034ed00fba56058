from promocast.cli import main

main()
