from services.runtime.app import main

main()
